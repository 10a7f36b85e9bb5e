"""The command `fl_model`: the model versions of a robot."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fl_robot_ros.cli.model_listing import (
    Listed,
    listing_to_json,
    print_listing,
    print_version,
)
from fl_robot_ros.cli.option_type import full_path
from fl_robot_ros.cli.terminal import number, print_error, say
from fl_robot_ros.config import resolve_data_dir
from fl_robot_ros.delivery.export_layout import publish_version
from fl_robot_ros.delivery.manifest import Manifest
from fl_robot_ros.delivery.model_signature import verify_signature
from fl_robot_ros.delivery.model_store import ModelStore
from fl_robot_ros.delivery.triton_layout import publish_for_triton
from fl_robot_ros.dependency import require
from fl_robot_ros.errors import FlRobotError, MissingPackageError, ModelError
from fl_robot_ros.identity.enrolment import Enrolment

_DESCRIPTION = """\
Look at a robot's model versions, choose the one in use, and take one along.
"""

_EPILOG = """\
examples:
  fl_model list                       all versions, and which one is current
  fl_model show                       all about the current one
  fl_model rollback --reason "..."    back to the version before, until there is
                                      a better one
  fl_model use v00007                 forward again, or to any other version
  fl_model pin                        keep the current one, whatever comes
  fl_model export --layout tf-serving v00007 /srv/models/signs

A robot need not stand still for any of this, and fl_client need not run. Where
it does, it announces another current version within a second, and
fl_perception swaps to it between two frames.

exit code: 0 done; 1 not done, or a version is damaged, and why; 2 invalid
command line; 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    models = options.models or resolve_data_dir("", options.namespace) / "models"
    try:
        if not models.is_dir():
            raise ModelError(
                f"there are no models in {models}; name a robot's folder with --models, or its "
                "namespace with --namespace"
            )
        return int(options.run(ModelStore(models), options, console))
    except (FlRobotError, OSError) as error:
        print_error(f"fl_model: {error}")
        return 1
    except KeyboardInterrupt:
        print_error("fl_model: interrupted")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fl_model",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    place = common.add_mutually_exclusive_group()
    place.add_argument(
        "--models",
        type=full_path,
        metavar="FOLDER",
        help="folder of the versions (default: models of fl_client's default data_dir)",
    )
    place.add_argument(
        "--namespace", default="", metavar="NAME", help="namespace of the robot's fl_client"
    )
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON")
    reason = argparse.ArgumentParser(add_help=False)
    reason.add_argument("--reason", default="", metavar="TEXT", help="why, for others to read")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", parents=[common, as_json], help="show all versions")
    listing.set_defaults(run=_list)
    show = commands.add_parser(
        "show", parents=[common, as_json], help="show all that is known of a version"
    )
    _add_version(show, "the current one")
    show.set_defaults(run=_show)
    verify = commands.add_parser(
        "verify", parents=[common], help="compare files with their SHA-256, and who signed"
    )
    verify.add_argument(
        "versions", nargs="*", metavar="VERSION", help="such as v00007 (default: all)"
    )
    verify.add_argument(
        "--enrolment",
        type=full_path,
        metavar="FILE",
        help="enrolment of the robot, whose fleet must have signed the versions",
    )
    verify.set_defaults(run=_verify)
    use = commands.add_parser("use", parents=[common], help="make a version current")
    use.add_argument("version", metavar="VERSION", help="such as v00007")
    use.set_defaults(run=_use)
    rollback = commands.add_parser(
        "rollback",
        parents=[common, reason],
        help="take the current version back; only a better one replaces the one before it",
    )
    rollback.set_defaults(run=_rollback)
    pin = commands.add_parser(
        "pin", parents=[common, reason], help="make a version current, and keep it so"
    )
    _add_version(pin, "the current one")
    pin.set_defaults(run=_pin)
    unpin = commands.add_parser(
        "unpin",
        parents=[common],
        help="end a pin, or what a rollback left: the next accepted version becomes current",
    )
    unpin.set_defaults(run=_unpin)
    export = commands.add_parser(
        "export",
        parents=[common],
        help="write a version into a folder, as other programs expect it",
        description="Write a version into a folder, as other programs expect it. What they look "
        "for, a folder with the version's number, appears when all is written.",
    )
    export.add_argument(
        "--layout",
        choices=_LAYOUTS,
        required=True,
        help="plain: TARGET/v00007 as it is; tf-serving: TARGET/7, a SavedModel, which needs "
        "TensorFlow here; triton: TARGET/7 and TARGET/config.pbtxt, which need LiteRT there",
    )
    export.add_argument("version", metavar="VERSION", help="such as v00007")
    export.add_argument(
        "target", type=full_path, metavar="TARGET", help="the model's folder there"
    )
    export.set_defaults(run=_export)
    return parser


def _add_version(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "version", nargs="?", metavar="VERSION", help=f"such as v00007 (default: {default})"
    )


def _list(store: ModelStore, options: argparse.Namespace, console: Console) -> int:
    if options.json:
        print(json.dumps(listing_to_json(store), indent=2))
    else:
        print_listing(store, console)
    return 0


def _show(store: ModelStore, options: argparse.Namespace, console: Console) -> int:
    folder = _chosen(store, options.version)
    if options.json:
        print(json.dumps(Listed.read(store, folder).to_json(), indent=2))
    else:
        print_version(store, folder, console)
    return 0


def _chosen(store: ModelStore, version: str | None) -> Path:
    """Return the folder of a version, that of the current one for None."""
    folder = store.folder(version) if version else store.current()
    if folder is None:
        raise ModelError(f"no version is current in {store.models_dir}; name one")
    return folder


def _verify(store: ModelStore, options: argparse.Namespace, console: Console) -> int:
    enrolment = Enrolment.load(options.enrolment) if options.enrolment else None
    versions = options.versions or [folder.name for folder in store.versions()]
    failed = 0
    for version in versions:
        try:
            manifest = store.verify(version)
            text = f"{version}: {number(len(manifest.files), 'file')} as the manifest says"
            if enrolment:
                verify_signature(manifest, enrolment)
                text += f", signed by {manifest.key_id}, this robot's fleet"
            elif manifest.key_id:
                text += f", signed by {manifest.key_id} (--enrolment checks that)"
            say(console, text)
        except FlRobotError as error:
            failed += 1
            print_error(f"{version}: {error}")
    return 1 if failed else 0


def _use(store: ModelStore, options: argparse.Namespace, console: Console) -> int:
    folder = store.use(options.version)
    say(
        console,
        f"{folder.name} is current; the next accepted version replaces it, unless 'fl_model pin' "
        "keeps it",
    )
    return 0


def _rollback(store: ModelStore, options: argparse.Namespace, console: Console) -> int:
    taken_back = _chosen(store, None).name
    folder = store.rollback(options.reason)
    say(
        console,
        f"{folder.name} is current again, until there is a better one; 'fl_model use "
        f"{taken_back}' goes forward again",
    )
    return 0


def _pin(store: ModelStore, options: argparse.Namespace, console: Console) -> int:
    folder = store.pin(_chosen(store, options.version).name, options.reason)
    say(console, f"{folder.name} is current, and stays so until 'fl_model unpin'")
    return 0


def _unpin(store: ModelStore, options: argparse.Namespace, console: Console) -> int:
    hold = store.unpin()
    ended = f"ended: {hold}" if hold else "nothing was pinned or rolled back"
    say(console, f"{ended}; the next accepted version becomes current")
    return 0


def _export(store: ModelStore, options: argparse.Namespace, console: Console) -> int:
    publish = _LAYOUTS[options.layout]
    manifest = store.verify(options.version)
    place = publish(store.folder(options.version), manifest, options.target)
    say(console, f"{options.version} is in {place}")
    return 0


def _publish_for_tf_serving(folder: Path, manifest: Manifest, target: Path) -> Path:
    try:
        require(("tensorflow", "keras"))
    except MissingPackageError as error:
        raise MissingPackageError(f"a SavedModel needs TensorFlow: {error}") from error
    # Each keeps one kind of TensorFlow's notes out of the terminal.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    from fl_robot_ros.learning.serving_export import publish_for_tf_serving

    return publish_for_tf_serving(folder, manifest, target)


_LAYOUTS = {
    "plain": publish_version,
    "tf-serving": _publish_for_tf_serving,
    "triton": publish_for_triton,
}


if __name__ == "__main__":
    sys.exit(main())
