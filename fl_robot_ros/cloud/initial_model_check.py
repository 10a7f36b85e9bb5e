"""The check of the operator's first model, in a process of its own.

A model that no robot could use would be trained for a whole run first. TensorFlow, which takes
seconds and much memory, stays out of the server's process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

from fl_robot_ros.cloud.readiness import input_of
from fl_robot_ros.config import ServerSettings, expand_path
from fl_robot_ros.errors import ModelError, SettingError
from fl_robot_ros.one_line import one_line

_POLL_SEC = 0.1
_REFUSED_CODE = 3


def check_initial_model(settings: ServerSettings, stop: threading.Event) -> None:
    """Check that robots can train the operator's model, and run what comes out.

    Args:
        settings: The server's settings, with `initial_model`.
        stop: Ends the check when set.

    Raises:
        SettingError: They cannot.
    """
    path = str(expand_path(settings.initial_model))
    values = {
        "classes": list(settings.classes),
        "initial_model": path,
        **{name: value for name, value in vars(settings).items() if name.startswith("input_")},
    }
    # Its own process group: a Ctrl-C in the terminal is for the server.
    with subprocess.Popen(
        [sys.executable, "-m", __name__, json.dumps(values)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as child:
        while child.poll() is None:
            if stop.wait(_POLL_SEC):
                child.kill()
                return
        assert child.stdout is not None
        lines = child.stdout.read().splitlines()
    if child.returncode == 0:
        return
    if child.returncode == _REFUSED_CODE and lines:
        reason = lines[-1]
    else:
        reason = f"its check ended with exit code {child.returncode}"
    raise SettingError(f"initial_model {settings.initial_model} cannot be delivered: {reason}")


def main() -> int:
    """Check the model of the settings on the command line; print why it cannot be delivered."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from fl_robot_ros.learning.architecture import model_from_architecture
    from fl_robot_ros.learning.deliverability import check_deliverable
    from fl_robot_ros.learning.initial_model import initial_model
    from fl_robot_ros.learning.weights import set_packed_weights

    settings = ServerSettings.from_mapping(json.loads(sys.argv[1]))
    preprocessing = input_of(settings)
    try:
        architecture, weights = initial_model(
            settings.initial_model, preprocessing, settings.classes, settings.seed
        )
        model = model_from_architecture(architecture)
        set_packed_weights(model, weights)
        check_deliverable(model, preprocessing.scale)
    except ModelError as error:
        print(one_line(str(error), 500))
        return _REFUSED_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
