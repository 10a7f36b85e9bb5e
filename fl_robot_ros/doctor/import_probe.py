"""Imports modules and says what came of it: `python import_probe.py MODULE...`.

`fl_doctor` starts this script in some Python, since an import may end the whole process. It
imports nothing of this package and prints one JSON object a line, before each import

    {"module": "cv2"}

and after it the version ("" for none) or the error, with its class and the module's name:

    {"module": "cv2", "version": "4.10.0"}
    {"module": "cv2", "error": "...", "kind": "ModuleNotFoundError", "name": "cv2"}
"""

import importlib
import importlib.metadata
import json
import sys
from contextlib import suppress


def main() -> None:
    """Import the modules of the command line."""
    del sys.path[0]  # The folder of this file, whose names are not for import.
    for name in sys.argv[1:]:
        _tell({"module": name})
        try:
            version = getattr(importlib.import_module(name), "__version__", "")
            with suppress(importlib.metadata.PackageNotFoundError):
                version = version or importlib.metadata.version(name)
            found = {"module": name, "version": str(version)}
        except BaseException as error:
            kind, missing = type(error).__name__, getattr(error, "name", None) or ""
            found = {"module": name, "error": str(error), "kind": kind, "name": missing}
        _tell(found)


def _tell(values: "dict[str, str]") -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
