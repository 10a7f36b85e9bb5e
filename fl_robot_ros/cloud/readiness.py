"""Checks of a server's files before it starts."""

from __future__ import annotations

import ssl
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from fl_robot_ros.cloud.checkpoint import GlobalModel, newest_checkpoint
from fl_robot_ros.cloud.schedule import Schedule
from fl_robot_ros.cloud.tls_door import load_certificate
from fl_robot_ros.config import ServerSettings, existing_file, expand_path, is_loopback
from fl_robot_ros.errors import IdentityError, SettingError
from fl_robot_ros.identity.key_folder import KeyFolder
from fl_robot_ros.identity.private_file import describe_readers
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.name_list import name_list

_KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# How long before the end of a certificate the operator is told.
_RENEWAL_TIME = timedelta(days=30)


def check_readiness(settings: ServerSettings, checkpoints: Path) -> None:
    """Check the schedule, and the files that the settings name.

    Args:
        settings: The server's settings.
        checkpoints: Folder of the checkpoints; it may be missing.

    Raises:
        SettingError: A line of the schedule is none, a file is missing or of the wrong kind, the
            checkpoints are for other classes or another input, or the certificate is not valid
            now.
    """
    Schedule(settings.schedule)
    model, _ = newest_checkpoint(checkpoints)
    if model is not None:
        check_same_task(model, settings)
    elif settings.initial_model:
        _check_keras_file(existing_file("initial_model", settings.initial_model))
    load_tls(settings)
    folder = open_keys(settings)
    if folder is not None:
        try:
            folder.robots(), folder.model_key()
        except IdentityError as error:
            raise SettingError(f"keys_dir: {error}") from error


def open_keys(settings: ServerSettings) -> KeyFolder | None:
    """Return the fleet's key folder, None without one.

    Raises:
        SettingError: The setting names none.
    """
    if not settings.keys_dir:
        return None
    try:
        return KeyFolder(expand_path(settings.keys_dir))
    except IdentityError as error:
        raise SettingError(f"keys_dir: {error}") from error


def load_tls(settings: ServerSettings) -> ssl.SSLContext | None:
    """Return the server's certificate for TLS, None without one.

    Raises:
        SettingError: A file cannot be used, or the certificate is not valid now.
    """
    files = _tls_files(settings)
    if files is None:
        return None
    certificate, key = files
    try:
        context = load_certificate(certificate, key)
        first = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingError(
            f"the certificate {certificate} and its key {key} cannot be used: {error}"
        ) from error
    begin, end = first.not_valid_before_utc, first.not_valid_after_utc
    if not begin <= datetime.now(UTC) <= end:
        raise SettingError(
            f"the certificate {certificate} is valid from {begin:%Y-%m-%d %H:%M} to "
            f"{end:%Y-%m-%d %H:%M} UTC, which is not now; make a new one ('fl_keys host'), or set "
            "the clock right"
        )
    return context


def describe_risks(settings: ServerSettings) -> list[str]:
    """Return warnings about a server that can start, one line each."""
    risks = []
    if settings.insecure and not is_loopback(settings.host):
        risks.append(
            f"host {settings.host} without TLS (insecure): whoever is on the network can join, "
            "read and change the weights on their way, and give robots a model"
        )
    elif settings.ssl_certfile and not settings.keys_dir:
        risks.append(
            "no keys_dir: whoever reaches this server can join under any name, and models are not "
            "signed"
        )
    files = _tls_files(settings)
    if files is not None:
        end = x509.load_pem_x509_certificate(files[0].read_bytes()).not_valid_after_utc
        if end - datetime.now(UTC) < _RENEWAL_TIME:
            risks.append(
                f"the certificate {files[0]} ends at {end:%Y-%m-%d %H:%M} UTC; make a new one in "
                "time ('fl_keys host'), or no robot can join"
            )
        folder = open_keys(settings)
        private = {files[1], *(folder.private_files if folder else ())}
        risks += filter(None, map(describe_readers, sorted(private)))
    return [f"warning: {risk}" for risk in risks]


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


def _tls_files(settings: ServerSettings) -> tuple[Path, Path] | None:
    """Return the files of the server's certificate and of its key, None for plain HTTP.

    Raises:
        SettingError: One cannot be read.
    """
    if settings.ssl_certfile:
        return (
            existing_file("ssl_certfile", settings.ssl_certfile),
            existing_file("ssl_keyfile", settings.ssl_keyfile),
        )
    folder = open_keys(settings)
    if folder is None:
        return None
    file = existing_file("keys_dir", str(folder.server_file))
    return file, file
