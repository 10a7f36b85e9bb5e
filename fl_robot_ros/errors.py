"""Every error that this package raises on purpose, as one tree.

Core code raises these; only nodes and commands turn them into log lines, service replies and
exit codes. A message names the value, what was expected and what to do.
"""


class FlRobotError(Exception):
    """Base of all errors of this package."""


class SettingError(FlRobotError):
    """A setting has a value outside its documented range, or a name that does not exist."""


class MissingPackageError(FlRobotError):
    """A Python package is missing or of an unknown version; the message says what to install."""


class FrameError(FlRobotError):
    """A frame cannot be turned into an RGB image: unknown encoding, wrong size, broken data."""


class LabelError(FlRobotError):
    """A label is unfit (too long, control characters, not text), or a label file is."""


class BagError(FlRobotError):
    """A rosbag cannot be read at all, or promises messages and yields none."""


class DatasetError(FlRobotError):
    """A dataset, the robot's own or another source's, cannot be opened, read or written."""


class SnapshotError(FlRobotError):
    """A snapshot is unreadable, or too small for what it is meant for."""


class ModelError(FlRobotError):
    """A model, an architecture or a set of weights is not what it should be."""


class ProtocolError(FlRobotError):
    """A message of the federation lacks a field or carries one of the wrong kind."""


class ServerUnreachableError(FlRobotError):
    """The SuperLink did not answer in time, or went away for too long."""


class RunCancelledError(FlRobotError):
    """The run was left because the user or the parent process asked for it."""


class RunRefusedError(FlRobotError):
    """A run cannot be started, left or rolled back now; the message says why."""


class RunFailedError(FlRobotError):
    """A run of the fleet ended without a result."""


class SourceError(FlRobotError):
    """A camera, video, folder or bag to stream from cannot be opened."""
