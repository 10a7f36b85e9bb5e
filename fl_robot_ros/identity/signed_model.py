"""The signature of a model that a server delivers, and its check on the robot.

The server signs a statement with the fleet's Ed25519 key; the robot checks the signature, and that
the statement is about the model that came with it and newer than the newest that it took.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from numpy.typing import NDArray

from fl_robot_ros.atomic_file import staging_file
from fl_robot_ros.errors import IdentityError, RunFailedError
from fl_robot_ros.identity.enrolment import key_id
from fl_robot_ros.images.preprocessing import Preprocessing

# Nothing else is signed with the same key, and nothing begins alike.
_CONTEXT = b"fl_robot_ros model 1\n"


@dataclass(frozen=True)
class Statement:
    """What the server says of a model.

    Attributes:
        run: Number of the run.
        round: Number of the round.
        counter: Grows from one delivery to the next.
        time: When it was signed, s since 1970 in UTC.
        architecture_sha256: SHA-256 of the Keras architecture as JSON, in hexadecimal.
        classes: Class names in the order of the outputs.
        preprocessing: The model's input, as `Preprocessing.to_dict` gives it.
        weights_sha256: SHA-256 of the packed weights, float32 in little-endian order.
    """

    run: int
    round: int
    counter: int
    time: int
    architecture_sha256: str
    classes: list[str]
    preprocessing: dict[str, Any]
    weights_sha256: str


@dataclass(frozen=True)
class Signature:
    """A signed statement, as it travels and is kept in a manifest.

    Attributes:
        statement: The statement as JSON, the text that is signed.
        signature: Ed25519 signature in Base64.
        key_id: Short name of the fleet's key.
    """

    statement: str
    signature: str
    key_id: str


def state(
    *,
    run: int,
    server_round: int,
    counter: int,
    signed_at: int,
    architecture: str,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    weights: NDArray[np.float32],
) -> Statement:
    """Return the statement about a model.

    Args:
        run: Number of the run.
        server_round: Number of the round.
        counter: The delivery's counter.
        signed_at: Time in s since 1970.
        architecture: Keras architecture as JSON.
        classes: Class names in the order of the outputs.
        preprocessing: The model's input.
        weights: float32 (number of weights,).
    """
    return Statement(
        run=run,
        round=server_round,
        counter=counter,
        time=signed_at,
        architecture_sha256=hashlib.sha256(architecture.encode()).hexdigest(),
        classes=list(classes),
        preprocessing=preprocessing.to_dict(),
        weights_sha256=hashlib.sha256(weights.astype("<f4").tobytes()).hexdigest(),
    )


def sign(statement: Statement, key: ed25519.Ed25519PrivateKey) -> Signature:
    """Return a statement with its signature."""
    text = json.dumps(asdict(statement), sort_keys=True)
    public_key = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = base64.b64encode(key.sign(_CONTEXT + text.encode())).decode()
    return Signature(text, signature, key_id(public_key))


def verify(
    signature: Signature | None, fleet_key: bytes, model: Statement, newest_counter: int
) -> tuple[Signature, int]:
    """Check the signature of a model; return it, and the counter that it is for.

    Args:
        signature: The signature that came with the model, None without one.
        fleet_key: The fleet's Ed25519 public key, 32 bytes.
        model: What the robot says of the model that came; its counter and time are not compared.
        newest_counter: Counter of the newest model that the robot took, 0 for none.

    Raises:
        IdentityError: The signature is missing, another fleet's or false, is of another model, or
            the model is not newer than the newest one.
    """
    if signature is None:
        raise IdentityError("the model is not signed; this robot takes its fleet's models alone")
    signed = open_statement(signature, fleet_key)
    for name, value in asdict(model).items():
        if name not in ("counter", "time") and signed.get(name) != value:
            raise IdentityError(
                f"the model's {name} is not what was signed: {str(signed.get(name))[:100]!r} "
                f"instead of {str(value)[:100]!r}"
            )
    counter = int(signed["counter"])
    if counter <= newest_counter:
        raise IdentityError(
            f"the model is an old one: its counter is {counter}, and this robot has taken a model "
            f"with {newest_counter}"
        )
    return signature, counter


def open_statement(signature: Signature, fleet_key: bytes) -> dict[str, Any]:
    """Check who signed a statement; return its values by name, as in `Statement`.

    Args:
        signature: The signed statement.
        fleet_key: The fleet's Ed25519 public key, 32 bytes.

    Raises:
        IdentityError: The signature is another fleet's or false.
    """
    if signature.key_id != key_id(fleet_key):
        raise IdentityError(
            f"the model is signed with the key {signature.key_id[:16]!r}; this robot's fleet has "
            f"the key {key_id(fleet_key)!r}: the server's keys_dir is another fleet's"
        )
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(fleet_key).verify(
            base64.b64decode(signature.signature, validate=True),
            _CONTEXT + signature.statement.encode(),
        )
    except (InvalidSignature, ValueError) as error:
        raise IdentityError("the model's signature is false; the model was changed") from error
    signed: dict[str, Any] = json.loads(signature.statement)
    return signed


def next_counter(file: Path) -> int:
    """Return the counter of the next delivery, and note it.

    It is the time in s since 1970, or one more than the last counter where that is larger: it
    grows also where the note is lost or the clock was set back.

    Args:
        file: File of the note, in a folder that exists.

    Raises:
        RunFailedError: The file cannot be written.
    """
    try:
        last = int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        last = 0
    counter = max(last + 1, int(time.time()))
    try:
        with staging_file(file) as staging:
            staging.write_text(f"{counter}\n", encoding="ascii")
    except OSError as error:
        raise RunFailedError(f"cannot write {file}: {error.strerror}") from error
    return counter
