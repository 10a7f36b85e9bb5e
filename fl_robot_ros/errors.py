"""Every error that this package raises on purpose, as one tree.

    FlRobotError
    ├── SettingError              a setting, an argument or a file that one names
    ├── MissingPackageError       a Python package
    ├── FrameError                an image
    ├── LabelError                a label, or a file with labels
    ├── BagError                  a rosbag
    │   └── DamagedError          a part of one, behind which more may be readable
    ├── SourceError               a source to stream from
    ├── DatasetError              a dataset
    ├── SnapshotError             a snapshot of one
    ├── ModelError                a model, an architecture or weights
    ├── ProtocolError             a message between server and robot
    ├── IdentityError             a key, a certificate, an enrolment or a signature
    ├── ServerUnreachableError    the connection to the server
    │   └── NoRunError            a server between two runs
    ├── RequestRefusedError       a request that the server refuses
    ├── RunRefusedError           a run that cannot begin
    └── RunFailedError            a run that ended without a result
        ├── PauseTooLongError     the robot was needed for too long
        └── HistoryDamagedError   the server's history cannot be read

Core code raises these; only nodes and commands turn them into log lines, service replies and
exit codes. A message names the value, what was expected and what to do.
"""


class FlRobotError(Exception):
    """Base of all errors of this package."""


class SettingError(FlRobotError):
    """A setting is out of its documented range, unknown, or names a file that cannot be used."""


class MissingPackageError(FlRobotError):
    """A Python package is missing or of an unknown version; the message says what to install."""


class FrameError(FlRobotError):
    """A frame cannot be turned into an RGB image: unknown encoding, wrong size, broken data."""


class LabelError(FlRobotError):
    """A label is invalid (too long, control characters, not text), or a file with labels is."""


class BagError(FlRobotError):
    """A rosbag cannot be read at all, or promises messages and yields none."""


class DamagedError(BagError):
    """A part of a bag does not hold what it should; what follows it may be readable."""


class SourceError(FlRobotError):
    """A camera, video, folder or bag to stream from cannot be opened."""


class DatasetError(FlRobotError):
    """A dataset, the robot's own or another source's, cannot be opened, read or written."""


class SnapshotError(FlRobotError):
    """A snapshot cannot be read or written, or is too small for a run."""


class ModelError(FlRobotError):
    """A model, an architecture or a set of weights is not what it should be."""


class ProtocolError(FlRobotError):
    """A message between server and robot lacks a field, or has one of the wrong kind."""


class IdentityError(FlRobotError):
    """A key, a certificate, an enrolment or a signature is missing, invalid or somebody else's."""


class ServerUnreachableError(FlRobotError):
    """The server did not reply in time, or was away for too long."""


class NoRunError(ServerUnreachableError):
    """The server has no run for this robot now.

    Attributes:
        come_back_sec: For how many s the robot may stay away; 0: unknown.
    """

    def __init__(self, message: str, come_back_sec: float) -> None:
        """Take the message for people and the time."""
        super().__init__(message)
        self.come_back_sec = come_back_sec


class RequestRefusedError(FlRobotError):
    """The server refuses a robot's request.

    Attributes:
        status: The HTTP status of the reply.
    """

    def __init__(self, message: str, status: int) -> None:
        """Take the message for people and the status."""
        super().__init__(message)
        self.status = status


class RunRefusedError(FlRobotError):
    """A run cannot be started, left or rolled back now; the message says why."""


class RunFailedError(FlRobotError):
    """A run ended without a result."""


class PauseTooLongError(RunFailedError):
    """The robot was needed for longer than a pause of its run may take; nothing is wrong."""


class HistoryDamagedError(RunFailedError):
    """The file with the server's history holds something else, or is damaged."""
