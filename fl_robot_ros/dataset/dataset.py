"""The labelled dataset on disk: a folder of JPEG files per label, and a SQLite index."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, overload

from fl_robot_ros.capture.new_sample import NewSample
from fl_robot_ros.capture.verdicts import Verdict
from fl_robot_ros.dataset.dataset_reader import DatasetReader
from fl_robot_ros.dataset.index_reader import read_index
from fl_robot_ros.dataset.index_writer import IndexWriter, StoredFile, open_index
from fl_robot_ros.dataset.retention import Limits, choose_victims, fair_share
from fl_robot_ros.dataset.sample_files import (
    LOCK_NAME,
    WRITE_LOCK_NAME,
    StagingFolder,
    has_dataset,
    make_folder,
)
from fl_robot_ros.dataset.sample_identity import IdentifiedBatch, identify
from fl_robot_ros.dataset.sample_paths import (
    file_name,
    folder_of_label,
    folders_of_labels,
    path_of_sample,
    remove_empty_folders,
)
from fl_robot_ros.dataset.sample_totals import SampleTotals
from fl_robot_ros.errors import DatasetError
from fl_robot_ros.labels.folder_layout import INDEX_NAME
from fl_robot_ros.labels.label_text import clean_label
from fl_robot_ros.process_lock import ProcessLock

# A full class is thinned by 1/100 of its limit at a time, which costs less than one by one.
_THINNING_SHARE = 100
_WRITE_TIMEOUT_SEC = 30.0

_logger = logging.getLogger(__name__)


class Dataset(DatasetReader):
    """Owns a folder of labelled images and of a review pool: its index, files and locks.

    Topic and stamp identify a sample, or topic and time of publication where another frame has
    that stamp; the same frame is stored once. A sample for which `add` has returned "kept"
    survives a power cut. Safe for use from several threads and processes; a reader does not wait
    for the disk while another thread writes.

    Attributes:
        path: Absolute path of the folder.
        recovered: Number of files that opening took out of the staging folder after a crash.
    """

    _index: IndexWriter

    def __init__(
        self, path: Path, limits: Limits | None = None, *, for_repair: bool = False
    ) -> None:
        """Open a dataset for writing, or create one, and recover from a crash.

        Args:
            path: Its folder.
            limits: Its budget; None: as much as the disk holds.
            for_repair: Keep other processes out until `close`, and create a new index where images
                have lost theirs; see `curation.check`.

        Raises:
            DatasetError: The folder cannot be written, the index is missing beside images or
                broken, or is of a newer version of this program; or another process has the
                dataset open that is to be repaired.
        """
        self.path = path.absolute()
        self._limits = limits or Limits()
        self._pinned_id = 0
        self._write_lock = threading.Lock()
        self._totals = SampleTotals()
        self._topics_with_repeats: set[str] = set()
        self.recovered = 0
        with ExitStack() as opened:
            with self._as_dataset_error("cannot be opened"):
                self.path.mkdir(parents=True, exist_ok=True)
                self._folder_lock = ProcessLock(self.path / LOCK_NAME, is_shared=True)
                opened.callback(self._folder_lock.close)
                if for_repair and not self._folder_lock.acquire():
                    raise DatasetError(
                        f"dataset {path} is open in another process; stop the robot's client, or "
                        f"whoever uses it, and repair again"
                    )
                self._process_lock = ProcessLock(self.path / WRITE_LOCK_NAME)
                opened.callback(self._process_lock.close)
            with self._as_dataset_error("cannot be repaired"), self._process_exclusive():
                super().__init__(self.path, open_index(self.path, for_repair))
                opened.callback(self._index.close)
                self._staging = StagingFolder(self.path)
                self.recovered = self._settle()
                remove_empty_folders(self.path, folders_of_labels(self.path))
                self._totals.follow(self._index)
            opened.pop_all()

    @overload
    @classmethod
    def open(cls, path: Path, *, read_only: Literal[True]) -> DatasetReader: ...

    @overload
    @classmethod
    def open(cls, path: Path, *, read_only: Literal[False] = False) -> Dataset: ...

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> DatasetReader:
        """Open a dataset.

        Args:
            path: Its folder.
            read_only: Open an existing dataset for reading, also on a disk that is full or
                read-only, or among another user's files. Where the folder can be written, opening
                still recovers from a crash and upgrades an older index.

        Raises:
            DatasetError: As for `Dataset`; for reading, there is no dataset, or it cannot be read.
        """
        if not read_only:
            return cls(path)
        with suppress(OSError):
            if not has_dataset(path):
                raise DatasetError(f"there is no dataset in {path}")
        try:
            return cls(path)
        except DatasetError:
            with suppress(DatasetError, OSError, sqlite3.Error):
                return DatasetReader(path.absolute(), read_index(path / INDEX_NAME))
            raise

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
            DatasetError: The disk is full or the folder cannot be written, or a label or stamp is
                invalid; nothing of the batch was stored.
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
        """Give samples a label, "" for none, and move their files; return how many moved.

        Raises:
            DatasetError: The label is invalid, or the disk or the index cannot be written.
        """
        with self._writing():
            changed = self._relabel(ids, label)
            self._keep_within_limits()
            return changed

    def remove(self, ids: Iterable[int]) -> int:
        """Remove samples and their files; return how many were removed.

        Raises:
            DatasetError: The disk or the index cannot be written.
        """
        with self._writing():
            return len(self._remove(self._index.files(ids)))

    def adopt(self, path: str, sample: NewSample) -> None:
        """Add a file of the dataset's folder to the index.

        Args:
            path: The file, relative to the dataset's folder.
            sample: The sample that it holds.

        Raises:
            DatasetError: The index cannot be written, or has the topic and stamp already.
        """
        with self._writing():
            with self._transaction():
                self._index.delete([path])
                self._index.insert({path: sample})
                self._index.commit()
            self._totals.read(self._index)

    def add_verdicts(self, counts: Mapping[str, int]) -> None:
        """Add to the number of frames by verdict since the dataset was created.

        Raises:
            DatasetError: The index cannot be written.
        """
        with self._writing(), self._transaction():
            self._index.add_verdicts(counts)
            self._index.commit()

    def pin(self, max_id: int) -> None:
        """Protect the samples up to an id from eviction, whatever the budget; 0: none."""
        self._pinned_id = max_id

    def exclusive(self) -> AbstractContextManager[bool]:
        """Keep other processes from opening the dataset meanwhile.

        Yields:
            False where another process has the dataset open, True otherwise.

        Raises:
            OSError: The file system cannot lock.
        """
        return self._folder_lock.exclusive()

    def counts(self) -> dict[str, int]:
        """Return the number of samples by label, sorted by label."""
        self._refresh()
        counts = self._totals.counts
        return {label: counts[label] for label in sorted(counts) if label and counts[label]}

    def num_unlabelled(self) -> int:
        """Return the number of samples in the review pool."""
        self._refresh()
        return self._totals.counts[""]

    def disk_bytes(self) -> int:
        """Return the size of all image files in bytes, without the index."""
        return self._totals.sizes.total()

    def last_id(self) -> int:
        """Return the id of the newest sample, 0 for an empty dataset."""
        return self._totals.last_id

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Exclude other threads and processes while files and index are changed."""
        with (
            self._write_lock,
            self._as_dataset_error("cannot be written"),
            self._process_exclusive(),
        ):
            # Another process may have been killed, or a file could not be placed.
            self._settle()
            yield

    @contextmanager
    def _process_exclusive(self) -> Iterator[None]:
        """Exclude other processes; raise OSError where one keeps writing."""
        with self._process_lock.exclusive(_WRITE_TIMEOUT_SEC) as is_exclusive:
            if not is_exclusive:
                raise TimeoutError(
                    f"another process has been writing for {_WRITE_TIMEOUT_SEC:g} s"
                )
            yield

    def _settle(self) -> int:
        """Place or remove every file of the staging folder; return their number."""
        names = set(self._staging.names())
        if not names:
            return 0
        paths = self._index.paths_named(names)
        for folder in set(map(_folder, paths)):
            make_folder(self.path / folder)
        self._staging.place(paths)
        self._staging.discard(names)
        return len(names)

    def _identified(self, batch: Sequence[NewSample]) -> IdentifiedBatch:
        """Identify samples; warn once of a topic that repeats its stamps."""
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
        self._staging.write({path: item.image_bytes for path, item in fresh.items()})
        newest = self._index.insert(fresh)
        self._index.commit()
        self._totals.last_id = newest
        self._totals.add((item.label, 1, len(item.image_bytes)) for item in fresh.values())

    def _label_known(self, batch: Sequence[NewSample], outcomes: list[Verdict]) -> None:
        """Give samples of the review pool the labels of the batch."""
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
            # The new samples are stored already.
            _logger.warning("dataset %s cannot label known samples: %s", self.path, error)

    def _relabel(self, ids: Iterable[int], label: str) -> int:
        """Give samples another label; return how many changed."""
        folder = folder_of_label(clean_label(label))
        # Also a sample of this label, in the folder of an earlier version.
        files = [
            file
            for file in self._index.files(ids)
            if file.label != label or _folder(file.path) != folder
        ]
        moves = {file.path: f"{folder}/{file_name(file.path)}" for file in files}
        make_folder(self.path / folder)
        with self._transaction():
            self._staging.withdraw(moves)
            self._index.relabel(label, moves)
            self._index.commit()
        self._place(moves.values())
        remove_empty_folders(self.path, map(_folder, moves))
        self._totals.add((file.label, -1, -file.size_bytes) for file in files)
        self._totals.add((label, 1, file.size_bytes) for file in files)
        return len(files)

    def _keep_within_limits(self) -> set[str]:
        """Evict samples beyond the budget; return their paths."""
        evicted: set[str] = set()
        try:
            self._evict(evicted)
        except (OSError, sqlite3.Error) as error:
            # The new samples are stored already; the next batch tries again.
            _logger.warning("dataset %s cannot evict samples over quota: %s", self.path, error)
        return evicted

    def _evict(self, evicted: set[str]) -> None:
        """Evict samples beyond the budget, and add their paths to `evicted`."""
        # All labels, since another process may have changed any.
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
            self._staging.withdraw(paths)
            self._index.delete(paths)
            self._index.commit()
        self._staging.discard(paths)
        remove_empty_folders(self.path, map(_folder, paths))
        self._totals.add((file.label, -1, -file.size_bytes) for file in files)
        return paths

    def _place(self, paths: Iterable[str]) -> None:
        """Move files from the staging folder to their paths in the index, which is written."""
        try:
            self._staging.place(paths)
        except OSError as error:
            _logger.error("dataset %s: the next write moves a file: %s", self.path, error)

    def _refresh(self) -> None:
        """Count what other processes wrote, unless a thread of this one is writing."""
        if self._write_lock.acquire(blocking=False):
            try:
                with self._as_dataset_error("cannot be read"):
                    self._totals.follow(self._index)
            finally:
                self._write_lock.release()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Begin a transaction of the index, with up-to-date totals.

        After an error, files that were moved go to their paths in the index.
        """
        try:
            with self._index.transaction():
                self._totals.follow(self._index)
                yield
        except BaseException:
            # An interrupt may arrive before or after the commit: the index decides.
            self._totals.read(self._index)
            self._settle()
            raise


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
