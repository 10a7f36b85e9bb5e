"""Checks before a server starts: its files exist and its port is free."""

from __future__ import annotations

import errno
import socket
import ssl
import time
import zipfile
from pathlib import Path

from fl_robot_ros.cloud.checkpoint import GlobalModel, newest_checkpoint
from fl_robot_ros.config import ServerSettings, existing_file
from fl_robot_ros.errors import SettingError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.name_list import name_list

# How long the SuperLink of a server that was killed may hold the port.
_PORT_TIMEOUT_SEC = 5.0
_POLL_SEC = 0.1
_KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def check_readiness(settings: ServerSettings, checkpoints: Path) -> None:
    """Check the files and the port that the settings name.

    Args:
        settings: The server's settings.
        checkpoints: Folder of the checkpoints; it may be missing.

    Raises:
        SettingError: A file is missing or of the wrong kind, the checkpoints are for other
            classes or another input, or the port cannot be listened on.
    """
    model, _ = newest_checkpoint(checkpoints)
    if model is not None:
        check_same_task(model, settings)
    elif settings.initial_model:
        _check_keras_file(existing_file("initial_model", settings.initial_model))
    if settings.ssl_certfile:
        _check_tls(settings)
    if settings.port:
        _check_port(settings.host, settings.port)


def input_of(settings: ServerSettings) -> Preprocessing:
    """Return the model's input, as set."""
    return Preprocessing(
        settings.input_height, settings.input_width, settings.input_channels, settings.input_scale
    )


def check_same_task(model: GlobalModel, settings: ServerSettings) -> None:
    """Check that a checkpoint is for the classes and the input of the settings.

    Raises:
        SettingError: The classes or the input differ.
    """
    wanted = input_of(settings)
    if model.classes != settings.classes or model.preprocessing != wanted:
        raise SettingError(
            f"the newest checkpoint (round {model.server_round}) is for the classes "
            f"{name_list(model.classes)} and the input {model.preprocessing}, the settings say "
            f"{name_list(settings.classes)} and {wanted}; use another state_dir"
        )


def _check_keras_file(path: Path) -> None:
    """Check the first bytes of a model's file, without loading TensorFlow."""
    if path.suffix == _KERAS_SUFFIXES[0]:
        is_keras = zipfile.is_zipfile(path)
    else:
        with path.open("rb") as file:
            is_keras = path.suffix in _KERAS_SUFFIXES and file.read(8) == _HDF5_MAGIC
    if not is_keras:
        raise SettingError(
            f"initial_model is {str(path)!r}; expected a model that Keras saved as "
            f"{' or '.join(_KERAS_SUFFIXES)}"
        )


def _check_tls(settings: ServerSettings) -> None:
    certificate, key, authority = (
        existing_file(name, getattr(settings, name))
        for name in ("ssl_certfile", "ssl_keyfile", "ssl_ca_certfile")
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise SettingError(
            f"ssl_certfile {certificate} and ssl_keyfile {key} cannot be used: {error}"
        ) from error
    try:
        context.load_verify_locations(authority)
    except (OSError, ValueError) as error:
        raise SettingError(f"ssl_ca_certfile {authority} cannot be used: {error}") from error


def _check_port(host: str, port: int) -> None:
    """Check that the port can be listened on; one in use may become free in a moment."""
    end = time.monotonic() + _PORT_TIMEOUT_SEC
    while True:
        try:
            _listen(host, port)
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                raise SettingError(
                    f"cannot listen on host {host!r}, port {port}: {error.strerror or error}; "
                    f"choose another, or stop the program that uses it"
                ) from error
        time.sleep(_POLL_SEC)


def _listen(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen()
