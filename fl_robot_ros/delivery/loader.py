"""Loading of models in a thread, so that no frame waits for a file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from fl_robot_ros.errors import FlRobotError, ModelError

ModelT = TypeVar("ModelT")

# A disk that answers no more does not keep a process from ending.
_STOP_TIMEOUT_SEC = 2.0


class ModelLoader(Generic[ModelT]):
    """Owns a thread that loads the requested model; a newer request replaces one that waits."""

    def __init__(
        self,
        load: Callable[[str], ModelT],
        on_loaded: Callable[[ModelT], None],
        on_failed: Callable[[str, FlRobotError], None],
    ) -> None:
        """Start the thread.

        Args:
            load: Checks and loads the model at a path; called in the thread.
            on_loaded: Called in the thread with what `load` returns.
            on_failed: Called in the thread with the requested path and the reason.
        """
        self._load_model = load
        self._on_loaded = on_loaded
        self._on_failed = on_failed
        self._condition = threading.Condition()
        self._request: str | None = None
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="model-loader", daemon=True)
        self._thread.start()

    def request(self, path: str) -> None:
        """Request a model; returns at once."""
        with self._condition:
            self._request = path
            self._condition.notify()

    def stop(self) -> None:
        """End the thread after a load in progress, which is waited for 2 s at most."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        self._thread.join(_STOP_TIMEOUT_SEC)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._is_stopping or self._request is not None)
                if self._is_stopping:
                    return
                path, self._request = self._request, None
            if path is not None:
                self._load(path)

    def _load(self, path: str) -> None:
        try:
            model = self._load_model(path)
        except FlRobotError as error:
            self._on_failed(path, error)
        except Exception as error:
            # A model is foreign data: no error of it may end the thread.
            self._on_failed(path, ModelError(f"{path}: {type(error).__name__}: {error}"))
        else:
            self._on_loaded(model)
