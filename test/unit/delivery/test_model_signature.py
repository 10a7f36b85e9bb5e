"""A stored version is the fleet's where the fleet signed what its manifest says."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fl_robot_ros.delivery.manifest import Manifest
from fl_robot_ros.delivery.model_signature import verify_signature
from fl_robot_ros.errors import IdentityError
from fl_robot_ros.identity.key_folder import KeyFolder
from fl_robot_ros.identity.signed_model import sign, state
from fl_robot_ros.images.preprocessing import Preprocessing

INPUT = Preprocessing(8, 8, 3, 1 / 255)


def signed_manifest(key: Ed25519PrivateKey) -> Manifest:
    statement = state(
        run=2,
        server_round=7,
        counter=100,
        signed_at=100,
        architecture="{}",
        classes=["cup", "Tässchen"],
        preprocessing=INPUT,
        weights=np.arange(5, dtype=np.float32),
    )
    return Manifest(
        version="v00001",
        created="2026-01-02T03:04:05+00:00",
        files={},
        classes=["cup", "Tässchen"],
        preprocessing=INPUT.to_dict(),
        run=2,
        round=7,
        counter=100,
        **asdict(sign(statement, key)),
    )


def test_only_what_the_fleet_signed_is_the_fleets(tmp_path: Path) -> None:
    keys = KeyFolder.create(tmp_path / "keys", ["localhost"])
    enrolment = keys.enrol("r1", tmp_path / "r1.json", "")
    manifest = signed_manifest(keys.model_key())
    manifest.write(tmp_path)
    verify_signature(Manifest.load(tmp_path), enrolment)
    stranger = Ed25519PrivateKey.generate()
    own_statement = signed_manifest(stranger)
    for other, words in (
        (replace(manifest, signature=""), "v00001 is not signed"),
        (own_statement, "another fleet's"),
        (replace(own_statement, key_id=manifest.key_id), "signature is false"),
        (replace(manifest, statement=manifest.statement.replace("7", "8")), "signature is false"),
        (replace(manifest, round=8), "the manifest of v00001 is not what was signed: round is .8"),
        (replace(manifest, counter=101), "counter is"),
        (replace(manifest, classes=["Tässchen", "cup"]), "classes is"),
        (replace(manifest, preprocessing=Preprocessing(8, 8, 1, 1.0).to_dict()), "preprocessing"),
    ):
        with pytest.raises(IdentityError, match=words):
            verify_signature(other, enrolment)
