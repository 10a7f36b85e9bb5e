"""Lists the packages of a Python without importing them: `python worker_probe.py MODULE...`.

The client starts this script in the Python of its workers, of any version 3. The script imports
nothing of this package and prints one JSON object:

    python     version, as [3, 11, 7]
    is_venv    whether it is a virtual environment
    places     its search path
    versions   for each installed module: the versions of the packages that contain it
"""

import importlib.util
import json
import sys


def main() -> None:
    """Print the JSON object."""
    versions = {}
    if sys.version_info >= (3, 10):  # noqa: UP036
        from importlib import metadata

        packages = metadata.packages_distributions()
        for module in sys.argv[1:]:
            if importlib.util.find_spec(module) is not None:
                versions[module] = [metadata.version(name) for name in packages.get(module, [])]
    found = {
        "python": list(sys.version_info[:3]),
        "is_venv": sys.prefix != sys.base_prefix,
        "places": sys.path[1:],  # The first is the folder of this file.
        "versions": versions,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
