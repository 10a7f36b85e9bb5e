"""Labels that a list gives to samples, and what of the list is for none of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fl_robot_ros.dataset.sample import Sample


@dataclass(frozen=True)
class ListedLabels:
    """Says which label a sample is to have, and remembers which places of its list were asked.

    Attributes:
        labels: Label by key.
        places: Where the list says so, by key, as "line 3"; keys of one place name one sample.
        key_of: Returns the key of a sample.
    """

    labels: Mapping[object, str]
    places: Mapping[object, str]
    key_of: Callable[[Sample], object]
    _found: set[str] = field(default_factory=set)

    def __call__(self, sample: Sample) -> str | None:
        """Return the label that the sample is to have, None where that is not said."""
        key = self.key_of(sample)
        if key in self.places:
            self._found.add(self.places[key])
        return self.labels.get(key)

    def without_sample(self) -> list[str]:
        """Return the places that give a label to none of the samples so far, in their order."""
        labelled = (place for key, place in self.places.items() if self.labels[key])
        return [place for place in dict.fromkeys(labelled) if place not in self._found]
