"""The server's signature under the models that it delivers."""

from __future__ import annotations

import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fl_robot_ros.cloud.checkpoint import GlobalModel
from fl_robot_ros.identity.signed_model import Signature, next_counter, sign, state

COUNTER_FILE = "model_counter"


class ModelSigner:
    """Signs models with a fleet's key."""

    def __init__(self, key: Ed25519PrivateKey, state_dir: Path) -> None:
        """Take the key, and the folder in which the counter of the last delivery is noted."""
        self._key = key
        self._counter_file = state_dir / COUNTER_FILE

    def sign(self, run: int, model: GlobalModel) -> Signature:
        """Return the signature for one delivery.

        Args:
            run: Number of the run.
            model: The model.

        Raises:
            RunFailedError: The counter cannot be noted.
        """
        statement = state(
            run=run,
            server_round=model.server_round,
            counter=next_counter(self._counter_file),
            signed_at=int(time.time()),
            architecture=model.architecture,
            classes=model.classes,
            preprocessing=model.preprocessing,
            weights=model.weights,
        )
        return sign(statement, self._key)
