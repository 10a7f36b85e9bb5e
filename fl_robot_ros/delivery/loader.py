"""Loading of models in a thread, so that no frame waits for a file."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fl_robot_ros.delivery.predictor import Predictor
from fl_robot_ros.errors import ModelError


class ModelLoader:
    """Owns a thread that loads the requested model; a newer request replaces one that waits."""

    def __init__(
        self,
        on_loaded: Callable[[str, Predictor], None],
        on_failed: Callable[[str, ModelError], None],
        num_threads: int = 1,
    ) -> None:
        """Start the thread.

        Args:
            on_loaded: Called in the thread with the requested path and the model.
            on_failed: Called in the thread with the requested path and the reason.
            num_threads: Threads of the LiteRT interpreter, 1 or more.
        """
        self._on_loaded = on_loaded
        self._on_failed = on_failed
        self._num_threads = num_threads
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
        """End the thread, after a load in progress."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        self._thread.join()

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
            predictor = Predictor(path, self._num_threads)
        except ModelError as error:
            self._on_failed(path, error)
        except Exception as error:
            # A model is foreign data: no error of it may end the thread.
            self._on_failed(path, ModelError(f"{path}: {type(error).__name__}: {error}"))
        else:
            self._on_loaded(path, predictor)
