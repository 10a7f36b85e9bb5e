"""The labelled dataset on disk: a folder of JPEG files per label, a SQLite index as the truth."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.capture.verdicts import Verdict
from fl_robot_ros.dataset.dataset_lock import FolderLock, WriteLock
from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.dataset.index_file import open_index
from fl_robot_ros.dataset.retention import Limits, choose_victims, fair_share
from fl_robot_ros.dataset.sample_files import MovingFolder, make_folder
from fl_robot_ros.dataset.sample_identity import IdentifiedBatch, identify
from fl_robot_ros.dataset.sample_index import SampleIndex, StoredFile
from fl_robot_ros.dataset.sample_paths import (
    file_name,
    folder_of_label,
    folders_of_labels,
    path_of_sample,
    remove_empty_folders,
)
from fl_robot_ros.dataset.sample_totals import SampleTotals
from fl_robot_ros.labels.label_text import clean_label

# A full class is thinned by this share of it at a time, which costs less than one by one.
_THINNING_SHARE = 100

_logger = logging.getLogger(__name__)


class Dataset(DatasetReader):
    """A folder of labelled images, and of images whose label is still to be given.

    A sample is its topic and stamp, or its time of publication where another frame has that stamp;
    the same frame is stored once. What `add` has returned "kept" for survives a power cut. Safe
    for use from several threads and processes; reading does not wait for the disk while another
    thread writes.

    Attributes:
        path: Absolute path of the folder.
        recovered: Number of files that a crash had left half moved, and that opening settled.
    """

    _index: SampleIndex

    def __init__(
        self, path: Path, limits: Limits | None = None, *, allow_orphans: bool = False
    ) -> None:
        """Open a dataset, or create one, and settle what a crash left.

        Args:
            path: Its folder.
            limits: Its budget; None: as much as the disk holds.
            allow_orphans: Make a new index where images lie without one; see `dataset.check`.

        Raises:
            DatasetError: The folder cannot be written, the index is missing beside images or
                broken, or it is of a newer version of this program.
        """
        self.path = path.absolute()
        self._limits = limits or Limits()
        self._pinned_id = 0
        self._write_lock = threading.Lock()
        self._totals = SampleTotals()
        self._topics_with_repeats: set[str] = set()
        self.recovered = 0
        with ExitStack() as opened:
            with self._trouble("cannot be opened"):
                self.path.mkdir(parents=True, exist_ok=True)
                self._folder_lock = FolderLock(self.path)
                opened.callback(self._folder_lock.close)
                self._process_lock = WriteLock(self.path)
                opened.callback(self._process_lock.close)
            with self._trouble("cannot be repaired"), self._process_lock.held():
                super().__init__(self.path, open_index(self.path, allow_orphans))
                opened.callback(self._index.close)
                self._moving = MovingFolder(self.path)
                self.recovered = self._settle()
                remove_empty_folders(self.path, folders_of_labels(self.path))
                self._totals.follow(self._index)
            opened.pop_all()

    def __len__(self) -> int:
        """Return the number of labelled samples."""
        return self._totals.counts.total() - self._totals.counts[""]

    def close(self) -> None:
        """Close the index. May be called twice."""
        with self._write_lock:
            super().close()
            self._process_lock.close()
            self._folder_lock.close()

    def add(self, batch: Sequence[NewSample]) -> list[Verdict]:
        """Store samples: their files first, then all their rows in one transaction.

        Returns:
            For each sample KEPT where it is new and safe on disk, LABELLED where it was known
            without the label that it has now, ALREADY_STORED where it is known and nothing
            changes, OVER_QUOTA where the budget is used up and others were worth more.

        Raises:
            DatasetError: The disk is full or the folder unwritable, or a label or stamp is unfit;
                nothing of the batch was stored.
        """
        with self._writing():
            with self._transaction():
                batch, known, _ = self._identified(batch)
                outcomes, fresh = self._choose_new(batch, known)
                if fresh:
                    self._insert(fresh)
            self._place(fresh)
            self._label_known(batch, outcomes)
            evicted = self._keep_within_limits()
            if evicted:
                paths = iter(fresh)
                for index, outcome in enumerate(outcomes):
                    if outcome == Verdict.KEPT and next(paths) in evicted:
                        outcomes[index] = Verdict.OVER_QUOTA
            return outcomes

    def relabel(self, ids: Iterable[int], label: str) -> int:
        """Give samples another label, "" for none, at once; return how many there were.

        Raises:
            DatasetError: The label is unfit, or the disk or the index cannot be written.
        """
        with self._writing():
            changed = self._relabel(ids, label)
            self._keep_within_limits()
            return changed

    def remove(self, ids: Iterable[int]) -> int:
        """Remove samples and their files; return how many there were.

        Raises:
            DatasetError: The disk or the index cannot be written.
        """
        with self._writing():
            return len(self._remove(self._index.files(ids)))

    def adopt(self, path: str, sample: NewSample) -> None:
        """Take a file that lies in the dataset's folder already into the index.

        Args:
            path: The file, relative to the dataset's folder.
            sample: What it is.

        Raises:
            DatasetError: The index cannot be written, or knows its topic and stamp already.
        """
        with self._writing():
            with self._transaction():
                self._index.delete([path])
                self._index.insert({path: sample})
                self._index.commit()
            self._totals.read(self._index)

    def add_verdicts(self, counts: Mapping[str, int]) -> None:
        """Add to the number of frames that ended in each verdict since the dataset was made.

        Raises:
            DatasetError: The index cannot be written.
        """
        with self._writing(), self._transaction():
            self._index.add_verdicts(counts)
            self._index.commit()

    def pin(self, max_id: int) -> None:
        """Keep the samples up to an id from being evicted, whatever the budget; 0: none."""
        self._pinned_id = max_id

    def alone(self) -> AbstractContextManager[bool]:
        """Keep other processes from opening the dataset meanwhile.

        Yields:
            Whether that is so: False where others have it open already.

        Raises:
            OSError: The file system cannot lock.
        """
        return self._folder_lock.alone()

    def counts(self) -> dict[str, int]:
        """Return the number of samples by label, in the order of the labels."""
        self._refresh()
        counts = self._totals.counts
        return {label: counts[label] for label in sorted(counts) if label and counts[label]}

    def num_unlabelled(self) -> int:
        """Return the number of samples whose label is still to be given."""
        self._refresh()
        return self._totals.counts[""]

    def disk_bytes(self) -> int:
        """Return the size of all image files in bytes, without the index."""
        return self._totals.sizes.total()

    def last_id(self) -> int:
        """Return the id of the newest sample, 0 where there is none."""
        return self._totals.last_id

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Keep other threads and processes from writing until files and index agree again."""
        with (
            self._write_lock,
            self._trouble("cannot be written"),
            self._process_lock.held(),
        ):
            # Of a process that was killed, or a file that could not be placed.
            self._settle()
            yield

    def _settle(self) -> int:
        """Bring every file that was left half moved to its place, or away; nobody else writes."""
        names = set(self._moving.names())
        if not names:
            return 0
        paths = self._index.paths_named(names)
        for folder in set(map(_folder, paths)):
            make_folder(self.path / folder)
        self._moving.place(paths)
        self._moving.discard(names)
        return len(names)

    def _identified(self, batch: Sequence[NewSample]) -> IdentifiedBatch:
        """Find out which samples are known; say once of a camera that its stamps do not tell."""
        identified = identify(self._index, batch)
        for topic, stamp_ns in identified.repeats:
            if topic not in self._topics_with_repeats:
                self._topics_with_repeats.add(topic)
                _logger.warning(
                    "topic %s: two frames with different images have the stamp %d.%09d; such "
                    "frames are known by the time of their publication",
                    topic,
                    *divmod(stamp_ns, 1_000_000_000),
                )
        return identified

    def _choose_new(
        self, batch: Sequence[NewSample], known: Container[int]
    ) -> tuple[list[Verdict], dict[str, NewSample]]:
        """Return each sample's outcome, and the new ones by their paths."""
        paths = [path_of_sample(sample) for sample in batch]
        outcomes: list[Verdict] = []
        fresh: dict[str, NewSample] = {}
        keys = set()
        for number, (path, sample) in enumerate(zip(paths, batch, strict=True)):
            key = (sample.topic, sample.stamp_ns)
            is_new = not (number in known or path in fresh or key in keys)
            outcomes.append(Verdict.KEPT if is_new else Verdict.ALREADY_STORED)
            if is_new:
                fresh[path] = sample
                keys.add(key)
        return outcomes, fresh

    def _insert(self, fresh: Mapping[str, NewSample]) -> None:
        """Write new samples, given by their paths, and their rows."""
        for folder in set(map(_folder, fresh)):
            make_folder(self.path / folder)
        self._moving.write({path: item.image_bytes for path, item in fresh.items()})
        newest = self._index.insert(fresh)
        self._index.commit()
        self._totals.last_id = newest
        self._totals.add((item.label, 1, len(item.image_bytes)) for item in fresh.values())

    def _label_known(self, batch: Sequence[NewSample], outcomes: list[Verdict]) -> None:
        """Give samples of the review pool the labels that they come with now."""
        known = [
            number
            for number, outcome in enumerate(outcomes)
            if outcome == Verdict.ALREADY_STORED and batch[number].label
        ]
        if not known:
            return
        try:
            keys = [(batch[number].topic, batch[number].stamp_ns) for number in known]
            pooled = {known[index]: id_ for index, id_ in self._index.pooled(keys).items()}
            for label in {batch[number].label for number in pooled}:
                numbers = [number for number in pooled if batch[number].label == label]
                self._relabel([pooled[number] for number in numbers], label)
                for number in numbers:
                    outcomes[number] = Verdict.LABELLED
        except (OSError, sqlite3.Error) as error:
            # What was new is stored.
            _logger.warning("dataset %s cannot label what it has: %s", self.path, error)

    def _relabel(self, ids: Iterable[int], label: str) -> int:
        """Give samples another label; return how many there were; nobody else writes."""
        folder = folder_of_label(clean_label(label))
        files = [file for file in self._index.files(ids) if file.label != label]
        moves = {file.path: f"{folder}/{file_name(file.path)}" for file in files}
        make_folder(self.path / folder)
        with self._transaction():
            self._moving.withdraw(moves)
            self._index.relabel(label, moves)
            self._index.commit()
        self._place(moves.values())
        remove_empty_folders(self.path, map(_folder, moves))
        self._totals.add((file.label, -1, -file.size_bytes) for file in files)
        self._totals.add((label, 1, file.size_bytes) for file in files)
        return len(files)

    def _keep_within_limits(self) -> set[str]:
        """Evict what is over the budget; return the paths of what went."""
        evicted: set[str] = set()
        try:
            self._evict(evicted)
        except (OSError, sqlite3.Error) as error:
            # What was to be stored is stored; the next batch brings the next try.
            _logger.warning("dataset %s cannot evict what is over quota: %s", self.path, error)
        return evicted

    def _evict(self, evicted: set[str]) -> None:
        """Evict what is over the budget, adding the paths of what went."""
        # Of all labels: another process may have changed any.
        for label in list(self._totals.counts):
            limit = self._limits.samples_of(label)
            excess = self._totals.counts[label] - limit
            if limit and excess > 0:
                evicted |= self._thin(label, excess + limit // _THINNING_SHARE)
        while self._limits.total_bytes and self._totals.sizes.total() > self._limits.total_bytes:
            share = fair_share(self._totals.sizes.values(), self._limits.total_bytes)
            # The largest class gives way, so that rare ones stay.
            for label, size_bytes in self._totals.sizes.most_common():
                count = self._totals.counts[label]
                excess = (size_bytes - share) * count // max(size_bytes, 1)
                gone = self._thin(label, max(1, count // _THINNING_SHARE, excess))
                evicted |= gone
                if gone:
                    break
            else:
                break  # everything is pinned

    def _thin(self, label: str, count: int) -> set[str]:
        """Evict samples of one label; return their paths."""
        files = self._index.files_of_label(label)
        evictable = [file.id > self._pinned_id for file in files]
        victims = choose_victims([file.stamp_ns for file in files], count, evictable)
        return self._remove([files[index] for index in victims])

    def _remove(self, files: Sequence[StoredFile]) -> set[str]:
        """Remove samples; return their paths."""
        paths = {file.path for file in files}
        if not paths:
            return paths
        with self._transaction():
            self._moving.withdraw(paths)
            self._index.delete(paths)
            self._index.commit()
        self._moving.discard(paths)
        remove_empty_folders(self.path, map(_folder, paths))
        self._totals.add((file.label, -1, -file.size_bytes) for file in files)
        return paths

    def _place(self, paths: Iterable[str]) -> None:
        """Move files to where the index, which is written, says that they are."""
        try:
            self._moving.place(paths)
        except OSError as error:
            _logger.error("dataset %s: a file is moved with the next try: %s", self.path, error)

    def _refresh(self) -> None:
        """Take account of what other processes wrote, unless a thread writes just now."""
        if self._write_lock.acquire(blocking=False):
            try:
                with self._trouble("cannot be read"):
                    self._totals.follow(self._index)
            finally:
                self._write_lock.release()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Begin a transaction of the index, with the numbers as they are then.

        Where it fails, files that were moved in it go to where the index then says they belong.
        """
        try:
            with self._index.transaction():
                self._totals.follow(self._index)
                yield
        except BaseException:
            # An interrupt that comes while the index is written is seen when that is done.
            self._totals.read(self._index)
            self._settle()
            raise


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
