"""What a robot's own Python may lack, and the tests that need it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import pytest

LEARNING = ("flwr", "tensorflow", "keras", "ai_edge_litert")
# Tests that cannot even be imported without these modules, or do nothing without them.
NEEDED = {
    "integration": ("rclpy",),
    "integration/test_demo.py": (*LEARNING, "matplotlib", "sklearn"),
    "system/test_admission.py": LEARNING,
    "system/test_chaos.py": LEARNING,
    "system/test_federation.py": LEARNING,
    "system/test_light_fleet.py": LEARNING,
    "system/test_robot_faults.py": LEARNING,
    "system/test_superlink.py": LEARNING,
    "unit/demo/test_scene.py": ("sklearn",),
    "unit/cloud": LEARNING,
    "unit/doctor/test_doctor_server.py": LEARNING,
    "unit/federation": LEARNING,
    "unit/delivery/test_model_signature.py": ("cryptography",),
    "unit/identity/test_keys_command.py": ("cryptography",),
    "unit/identity/test_signed_model.py": ("cryptography",),
    "unit/learning": LEARNING,
    "unit/worker": LEARNING,
}


def lacking(modules: Sequence[str]) -> list[str]:
    """Return which of the modules are not there."""
    return [module for module in modules if importlib.util.find_spec(module) is None]


# Marks a test that learns.
learns = pytest.mark.skipif(
    bool(lacking(LEARNING)), reason=f"needs {', '.join(lacking(LEARNING))}"
)
