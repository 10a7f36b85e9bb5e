"""Keras architectures as JSON, from which a robot rebuilds a model without any code of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from numpy.typing import NDArray

from fl_robot_ros.errors import ModelError
from fl_robot_ros.one_line import one_line

MAX_ARCHITECTURE_BYTES = 4_000_000
MAX_PARAMETERS = 250_000_000
# Keras takes time that grows with the square of the layers of a Sequential model: 40 s for 500.
MAX_LAYERS = 500

# Layers that carry or load code. Keras' safe mode refuses some of them, but has been circumvented
# before (CVE-2025-1550, CVE-2025-8747).
_FORBIDDEN_CLASSES = frozenset(
    {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
)


def architecture_of(model: keras.Model) -> str:
    """Return the architecture of a model as JSON, without weights."""
    return str(model.to_json())


def model_from_architecture(
    architecture: str, check: Callable[[keras.Model], None] | None = None
) -> keras.Model:
    """Rebuild a model, with fresh weights, from JSON from the network.

    The JSON may name classes of Keras alone: no code, no file, no other package.

    Args:
        architecture: The JSON.
        check: Is given the model before its weights take memory; may raise a ModelError.

    Raises:
        ModelError: The text is not an architecture, names other classes than Keras' own,
            describes a model of more than 500 layers or 250 million parameters, or was refused
            by the check.
    """
    if len(architecture) > MAX_ARCHITECTURE_BYTES:
        raise ModelError(f"architecture of {len(architecture)} bytes; at most 4 MB are accepted")
    try:
        content = json.loads(architecture)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"architecture is not JSON: {error}") from error
    num_layers = 0
    for node in _objects(content):
        _check_object(node)
        num_layers += _num_layers(node)
    if num_layers > MAX_LAYERS:
        raise ModelError(
            f"the architecture has {num_layers} layers; at most {MAX_LAYERS} are accepted"
        )
    # Inside of the scope variables have shapes and no memory; at its end they get both.
    with keras.StatelessScope():
        try:
            model = _build(architecture)
            if check is not None:
                check(model)
        except BaseException:
            global_state.set_global_attribute("uninitialized_variables", [])
            raise
    return model


def _build(architecture: str) -> keras.Model:
    """Return the model, and check that it is one and not too large."""
    try:
        model = keras.models.model_from_json(architecture)
    except Exception as error:  # Keras raises whatever its layers raise
        raise ModelError(
            f"Keras cannot build the architecture: {one_line(str(error), 300)}"
        ) from error
    if not isinstance(model, keras.Model) or not model.built:
        raise ModelError("the architecture does not describe a built Keras model")
    if model.count_params() > MAX_PARAMETERS:
        raise ModelError(
            f"the architecture has {model.count_params()} parameters; at most {MAX_PARAMETERS} "
            "are accepted"
        )
    return model


def trainable_weights(architecture: str) -> NDArray[np.bool_]:
    """Return of each weight of a model whether training moves it, (number of weights,).

    Statistics of batch normalization, and layers that are frozen, it does not.

    Raises:
        ModelError: As `model_from_architecture`.
    """
    model = model_from_architecture(architecture)
    trainable = {id(weight) for weight in model.trainable_weights}
    parts = [np.full(int(np.prod(w.shape)), id(w) in trainable) for w in model.weights]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.bool_)


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object at any depth."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _objects(value)
    elif isinstance(node, list):
        for value in node:
            yield from _objects(value)


def _num_layers(node: dict[str, Any]) -> int:
    """Return the number of layers that an object lists, and of further uses of a layer."""
    listed = sum(
        len(node[name]) for name in ("layers", "cells") if isinstance(node.get(name), list)
    )
    uses = node.get("inbound_nodes")
    return listed + (max(0, len(uses) - 1) if isinstance(uses, list) else 0)


def _check_object(node: dict[str, Any]) -> None:
    """Raise ModelError if a serialized object is not one of Keras' own."""
    module, name = node.get("module"), node.get("class_name")
    if module is not None and not (
        isinstance(module, str) and (module == "keras" or module.startswith("keras."))
    ):
        raise ModelError(f"architecture names the module {str(module)[:80]!r}; expected keras")
    if node.get("registered_name") and module is None:
        registered = str(node["registered_name"])[:80]
        raise ModelError(f"architecture names the custom class {registered!r}; expected keras")
    if isinstance(name, str) and name in _FORBIDDEN_CLASSES:
        raise ModelError(f"architecture has a layer of type {name}, which can carry code")
