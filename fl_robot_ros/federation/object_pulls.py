"""How soon Flower asks again for what is still being uploaded."""

from __future__ import annotations

from flwr.supercore.inflatable.inflatable_utils import pull_objects


def pull_sooner() -> None:
    """Have this process ask soon again for an object whose sender is still uploading it.

    A message can be seen before its objects are there. Flower then waits 1 s, on either side,
    which with quick polls happens in nearly every phase of a round.
    """
    defaults = pull_objects.__kwdefaults__ or {}
    if not {"initial_backoff", "backoff_cap", "max_tries_per_object"} <= set(defaults):
        raise RuntimeError("this version of Flower fetches objects in another way")
    defaults.update(initial_backoff=0.05, backoff_cap=1.0, max_tries_per_object=None)
