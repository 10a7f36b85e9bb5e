"""Checks of a server's files before it starts."""

from __future__ import annotations

import ssl
import zipfile
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509

from fl_robot_ros.cloud.checkpoint import GlobalModel, newest_checkpoint
from fl_robot_ros.config import ServerSettings, existing_file
from fl_robot_ros.errors import SettingError
from fl_robot_ros.images.preprocessing import Preprocessing
from fl_robot_ros.name_list import name_list

_KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def check_readiness(settings: ServerSettings, checkpoints: Path) -> None:
    """Check the files that the settings name.

    Args:
        settings: The server's settings.
        checkpoints: Folder of the checkpoints; it may be missing.

    Raises:
        SettingError: A file is missing or of the wrong kind, the checkpoints are for other
            classes or another input, or the certificate is not valid now.
    """
    model, _ = newest_checkpoint(checkpoints)
    if model is not None:
        check_same_task(model, settings)
    elif settings.initial_model:
        _check_keras_file(existing_file("initial_model", settings.initial_model))
    if settings.ssl_certfile:
        _check_tls(settings)


def describe_exposure(settings: ServerSettings) -> str:
    """Return a warning about a server on the network without TLS; "" for any other."""
    host = settings.host.strip("[]")
    try:
        is_local = ip_address(host).is_loopback
    except ValueError:
        is_local = host == "localhost"
    if is_local or settings.ssl_certfile:
        return ""
    return (
        f"warning: host {settings.host} without TLS (ssl_certfile): whoever is on the network can "
        f"read and change the weights on their way, and give robots a model"
    )


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
    certificate, key = (
        existing_file(name, getattr(settings, name)) for name in ("ssl_certfile", "ssl_keyfile")
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
        first = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingError(
            f"ssl_certfile {certificate} and ssl_keyfile {key} cannot be used: {error}"
        ) from error
    begin, end = first.not_valid_before_utc, first.not_valid_after_utc
    if not begin <= datetime.now(UTC) <= end:
        raise SettingError(
            f"ssl_certfile {certificate} is valid from {begin:%Y-%m-%d %H:%M} to "
            f"{end:%Y-%m-%d %H:%M} UTC, which is not now; make a new one, or set the clock right"
        )
