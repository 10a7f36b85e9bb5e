"""Which models a robot takes, and which it does not."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fl_robot_ros.errors import IdentityError, RunFailedError
from fl_robot_ros.identity import signed_model
from fl_robot_ros.identity.signed_model import (
    Signature,
    Statement,
    next_counter,
    sign,
    state,
    verify,
)
from fl_robot_ros.images.preprocessing import Preprocessing

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def statement(**changes: Any) -> Statement:
    values: dict[str, Any] = {
        "run": 2,
        "server_round": 7,
        "counter": 100,
        "signed_at": 100,
        "architecture": '{"layers": []}',
        "classes": ("cup", "Tässchen"),
        "preprocessing": Preprocessing(32, 32, 3, 1 / 255),
        "weights": np.arange(5, dtype=np.float32),
    }
    return state(**{**values, **changes})


SIGNED = sign(statement(), KEY)


def test_a_model_of_the_fleet_is_taken() -> None:
    received = statement(counter=0, signed_at=0)
    assert verify(SIGNED, PUBLIC, received, newest_counter=99) == (SIGNED, 100)


@pytest.mark.parametrize(
    "changes",
    [
        {"run": 3},
        {"server_round": 8},
        {"architecture": "{}"},
        {"classes": ("Tässchen", "cup")},
        {"preprocessing": Preprocessing(32, 32, 3, 1 / 256)},
        {"weights": np.arange(1, 6, dtype=np.float32)},
        {"weights": np.arange(6, dtype=np.float32)},
    ],
)
def test_a_model_that_is_not_what_was_signed_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(IdentityError, match="is not what was signed"):
        verify(SIGNED, PUBLIC, statement(**changes), 0)


@pytest.mark.parametrize("newest", [100, 101, 10**10])
def test_an_old_model_is_refused(newest: int) -> None:
    with pytest.raises(IdentityError, match=f"its counter is 100, .* a model with {newest}"):
        verify(SIGNED, PUBLIC, statement(), newest)


def test_what_the_fleet_did_not_sign_is_refused() -> None:
    with pytest.raises(IdentityError, match="the model is not signed"):
        verify(None, PUBLIC, statement(), 0)
    foreign = sign(statement(), Ed25519PrivateKey.generate())
    with pytest.raises(IdentityError, match="keys_dir is another fleet's"):
        verify(foreign, PUBLIC, statement(), 0)
    newer = SIGNED.statement.replace('"counter": 100', '"counter": 900')
    forged: list[Signature] = [
        replace(foreign, key_id=SIGNED.key_id),
        replace(SIGNED, statement=newer),
        replace(SIGNED, signature=""),
        replace(SIGNED, signature="?"),
        # The bare text, as the key might sign it for another purpose.
        replace(SIGNED, signature=base64.b64encode(KEY.sign(SIGNED.statement.encode())).decode()),
    ]
    for signature in forged:
        with pytest.raises(IdentityError, match="signature is false"):
            verify(signature, PUBLIC, statement(), 0)


def test_the_counter_grows_whatever_the_clock_and_the_disk_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "counter"
    for now, counter in ((1000.5, 1000), (1000.7, 1001), (900.0, 1002), (2000.0, 2000)):
        monkeypatch.setattr(signed_model.time, "time", lambda now=now: now)
        assert next_counter(file) == counter
    file.write_text("damaged")
    assert next_counter(file) == 2000
    with pytest.raises(RunFailedError, match="cannot write"):
        next_counter(tmp_path / "none" / "counter")
