"""The one label of a frame, from all the places that labels come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fl_robot_ros.errors import LabelError, SettingError
from fl_robot_ros.labels.label_text import clean_label
from fl_robot_ros.labels.label_track import LabelTrack, seconds_as_ns
from fl_robot_ros.topic_name import LABEL_TOPIC, matching_names

if TYPE_CHECKING:
    # A robot that reads no bag does not load what reads their files.
    from fl_robot_ros.labels.label_ranges import LabelRanges

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class LabelRules:
    """How frames get their labels, live and from every bag.

    Attributes:
        hold_sec: How long a published label holds at most, in s; 0 for until the next one.
        lookback_sec: How far a published label reaches back over frames without one, in s.
        topic_labels: Fixed labels by the name of their topic, as `parse_topic_labels` returns
            them.
    """

    hold_sec: float = 0.0
    lookback_sec: float = 0.0
    topic_labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the rules.

        Raises:
            SettingError: A time is negative or not finite, or a fixed label is unfit.
        """
        seconds_as_ns("hold_sec", self.hold_sec)
        seconds_as_ns("lookback_sec", self.lookback_sec)
        entries = ((topic, ": ", label) for topic, label in self.topic_labels.items())
        object.__setattr__(self, "topic_labels", _checked(entries))


class Labeller:
    """Says which label a frame has: a live one, or one of one bag.

    The places that labels come from, in this order:

    1. The ranges of a label file: by capture time, or where they are relative to the beginning of
       the recording by the time of recording. An empty label there means none, whatever the others
       say.
    2. The published labels, by the time of publication. An empty one ends the label before it.
       Where several robots publish labels, each has its own: those of /robot1/fl/label are for
       topics below /robot1.
    3. The fixed label of the frame's topic; of several names of the topic, that of the longest.

    Safe for use from several threads.

    Attributes:
        are_ranges_used: Whether a range of the label file had the time of any frame so far.
    """

    def __init__(
        self,
        rules: LabelRules,
        ranges: LabelRanges | None = None,
        origin_ns: int = 0,
        label_topics: Iterable[str] = (LABEL_TOPIC,),
    ) -> None:
        """Make a labeller without published labels.

        Args:
            rules: How frames get their labels.
            ranges: The labels of the bag's label file.
            origin_ns: Beginning of the bag, in ns since the epoch; it matters only for ranges
                whose times are relative.
            label_topics: The topics that labels are published on, as far as they are known.
        """
        self._rules = rules
        self._ranges = ranges
        self._origin_ns = origin_ns
        self.are_ranges_used = False
        # By namespace; replaced as a whole, never changed in place.
        self._tracks: dict[str, LabelTrack] = {}
        for topic in label_topics:
            self._track_for(_namespace(topic))

    def add(self, text: str, published_ns: int, topic: str = LABEL_TOPIC) -> None:
        """Take a published label; `LabelTrack.add` says how long it holds.

        Args:
            text: Text from the network or a bag; "" ends the label before it.
            published_ns: When it was published, in ns.
            topic: The topic that it was published on.

        Raises:
            LabelError: The text is unfit to be a label; the label before it goes on.
        """
        self._track_for(_namespace(topic)).add(text, published_ns)

    def keep_from(self, published_ns: int) -> None:
        """Say from which time in ns on published labels will still be asked for."""
        for track in self._tracks.values():
            track.keep_from(published_ns)

    def label_of(
        self, topic: str, stamp_ns: int, published_ns: int, recorded_ns: int | None = None
    ) -> str:
        """Return the label of a frame, "" for none.

        Args:
            topic: Name of the frame's topic.
            stamp_ns: When it was captured, in ns since the epoch.
            published_ns: When it was published, in ns, on the time line of the published labels.
            recorded_ns: When it was recorded, in ns since the epoch, for ranges whose times are
                relative; None: `published_ns`.
        """
        if self._ranges is not None:
            # Seconds since the beginning of a recording are the recorder's, not the camera's.
            recorded_ns = published_ns if recorded_ns is None else recorded_ns
            time_ns = recorded_ns if self._ranges.is_relative else stamp_ns
            ranged = self._ranges.at(topic, time_ns, self._origin_ns)
            if ranged is not None:
                self.are_ranges_used = True
                return ranged
        track = self._track_of(topic)
        published = track.at(published_ns) if track is not None else ""
        fixed = self._rules.topic_labels
        if published or not fixed:
            return published
        names = matching_names(topic, fixed)
        return fixed[names[0]] if names else ""

    def _track_for(self, namespace: str) -> LabelTrack:
        """Return the track of a namespace's labels, a new one if need be."""
        track = self._tracks.get(namespace)
        if track is None:
            track = LabelTrack(self._rules.hold_sec, self._rules.lookback_sec)
            self._tracks = {**self._tracks, namespace: track}
        return track

    def _track_of(self, topic: str) -> LabelTrack | None:
        """Return the track with the labels of a frame's topic, None where there is none."""
        tracks = self._tracks
        if len(tracks) == 1:
            return next(iter(tracks.values()))
        name = topic.strip("/")
        spaces = [space for space in tracks if name.startswith(space)]
        return tracks[max(spaces, key=len)] if spaces else None


def _namespace(label_topic: str) -> str:
    """Return what lies before "fl/label" in the name of a topic, with its trailing "/"."""
    return label_topic.strip("/").removesuffix(LABEL_TOPIC)


def parse_topic_labels(entries: Iterable[str]) -> dict[str, str]:
    """Read fixed labels such as "camera_left/image_raw: pallet".

    Topic names match without their leading "/" and with any namespace before them.

    Returns:
        Clean labels by the name of their topic, which has no "/" around it.

    Raises:
        SettingError: An entry has no topic or no label, its label is unfit, or a topic has two.
    """
    return _checked(entry.partition(":") for entry in entries)


def _checked(entries: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Return clean labels by bare topic names, from topic, separator and label."""
    labels: dict[str, str] = {}
    for topic, separator, text in entries:
        shown = repr(f"{topic}{separator}{text}"[:_SHOWN_CHARACTERS])
        name = topic.strip().strip("/")
        try:
            label = clean_label(text)
        except LabelError as error:
            raise SettingError(f"topic label {shown}: {error}") from error
        if not name or not name.isprintable() or " " in name or not label:
            raise SettingError(
                f"topic label {shown} lacks a topic or a label; expected both, as in "
                f"'camera_left/image_raw: pallet'"
            )
        if labels.setdefault(name, label) != label:
            raise SettingError(
                f"topic label {shown}: topic {name!r} has the label {labels[name]!r} already; "
                f"expected one label for a topic"
            )
    return labels
