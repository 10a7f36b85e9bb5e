"""The label of a frame, from all sources of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fl_robot_ros.errors import LabelError, SettingError
from fl_robot_ros.labels.label_text import clean_label
from fl_robot_ros.labels.label_track import LabelTrack
from fl_robot_ros.topic_name import LABEL_TOPIC, matching_names

if TYPE_CHECKING:
    # A robot that reads no bags does not load the readers of label files.
    from fl_robot_ros.labels.label_ranges import LabelRanges

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class LabelRules:
    """How frames get their labels, live and from bags.

    Attributes:
        hold_sec: How long a published label holds at most, in s; 0: until the next one.
        lookback_sec: How far a published label reaches back over frames without one, in s.
        topic_labels: Fixed labels by topic name, as `parse_topic_labels` returns them.
    """

    hold_sec: float = 0.0
    lookback_sec: float = 0.0
    topic_labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the fixed labels.

        Raises:
            SettingError: A fixed label is invalid.
        """
        entries = ((topic, ": ", label) for topic, label in self.topic_labels.items())
        object.__setattr__(self, "topic_labels", _checked(entries))


class Labeller:
    """Labels live frames, or the frames of one bag.

    The sources of labels, in this order:

    1. The ranges of a label file: by capture time, or if they count from the start of the
       recording, by time of recording. An empty label there means no label at all.
    2. The published labels, by time of publication. An empty one ends the label before it. If
       several robots publish labels, /robot1/fl/label is for topics below /robot1.
    3. The fixed label of the frame's topic; if several names match, that of the longest.

    Safe for use from several threads.

    Attributes:
        are_ranges_used: Whether a range of the label file covered any frame so far.
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
            origin_ns: Start of the recording, in ns since the epoch; for relative ranges only.
            label_topics: The label topics known so far.
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
        """Add a published label; see `LabelTrack` for how long it holds.

        Args:
            text: Text from the network or a bag; "" ends the label before it.
            published_ns: When it was published, in ns.
            topic: Its topic.

        Raises:
            LabelError: The text is no valid label; the label before it stays in force.
        """
        self._track_for(_namespace(topic)).add(text, published_ns)

    def keep_from(self, published_ns: int) -> None:
        """Keep the published labels from this time in ns on."""
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
            recorded_ns: When it was recorded, in ns since the epoch, for relative ranges; None:
                `published_ns`.
        """
        if self._ranges is not None:
            # Relative times are on the recorder's clock, not the camera's.
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
        """Return the track of a namespace's labels; make it if needed."""
        track = self._tracks.get(namespace)
        if track is None:
            track = LabelTrack(self._rules.hold_sec, self._rules.lookback_sec)
            self._tracks = {**self._tracks, namespace: track}
        return track

    def _track_of(self, topic: str) -> LabelTrack | None:
        """Return the track with the labels of a frame's topic, None if there is none."""
        tracks = self._tracks
        if len(tracks) == 1:
            return next(iter(tracks.values()))
        name = topic.strip("/")
        spaces = [space for space in tracks if name.startswith(space)]
        return tracks[max(spaces, key=len)] if spaces else None


def _namespace(label_topic: str) -> str:
    """Return the namespace before "fl/label" in a topic's name, with its trailing "/"."""
    return label_topic.strip("/").removesuffix(LABEL_TOPIC)


def parse_topic_labels(entries: Iterable[str]) -> dict[str, str]:
    """Read fixed labels such as "camera_left/image_raw: pallet".

    Topic names match without their leading "/" and with any namespace before them.

    Returns:
        Clean labels by topic name, without "/" around it.

    Raises:
        SettingError: An entry lacks its topic or label, a label is invalid, or a topic has two.
    """
    return _checked(entry.partition(":") for entry in entries)


def _checked(entries: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Return clean labels by bare topic name, from (topic, separator, label)."""
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
