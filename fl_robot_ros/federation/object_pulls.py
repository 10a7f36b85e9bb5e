"""The pace at which Flower asks again for objects that are still being uploaded."""

from __future__ import annotations

from flwr.supercore.inflatable.inflatable_utils import pull_objects

from fl_robot_ros.errors import MissingPackageError


def pull_sooner() -> None:
    """Have this process ask again after 0.05 s, and later after up to 1 s.

    A message arrives before its objects. Flower then waits 1 s on either side, which with quick
    polls happens in nearly every phase of a round.

    Raises:
        MissingPackageError: This version of Flower pulls objects in another way.
    """
    defaults = pull_objects.__kwdefaults__ or {}
    if not {"initial_backoff", "backoff_cap", "max_tries_per_object"} <= set(defaults):
        raise MissingPackageError(
            "this version of Flower pulls objects in another way; install one that README names"
        )
    defaults.update(initial_backoff=0.05, backoff_cap=1.0, max_tries_per_object=None)
