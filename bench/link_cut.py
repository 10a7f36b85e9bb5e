"""A link that is cut for a minute, with one robot in training and one that is sending its update.

The server and the robots are in two network namespaces, joined by a cable that is taken down; this
needs root and iproute2. The model has 9 MB, and the cable carries 16 Mbit/s, so that an update is
on its way for some seconds.

    .venv/bin/python bench/link_cut.py --seconds 65
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "test" / "parts"))

from fleet import free_port, light_robots, server
from network import ADDRESSES, TwoHosts
from waiting import wait_until

from fl_robot_ros.cloud.history import History

PATIENCE_SEC = 900.0


def do_run(folder: Path, hosts: TwoHosts, seconds: float) -> None:
    """Do a run of one round with a cut; print how long the round took, and what was said."""
    port, state = free_port(), folder / "state"
    cloud, field = hosts.command(0, []), hosts.command(1, [])
    far = {"host": ADDRESSES[0], "within": field, "timeout_sec": 600}
    size = {"input_height": 440, "input_width": 440, "num_rounds": 1}
    with ExitStack() as stack:
        fl_server = stack.enter_context(
            server(state, port, within=cloud, host=ADDRESSES[0], insecure=True, **size)
        )
        busy_sec = seconds / 2
        sender = stack.enter_context(light_robots(folder, port, "sender", **far))
        busy = stack.enter_context(light_robots(folder, port, "busy", work_sec=busy_sec, **far))
        for text, process in (("busy0 trains", busy), ("sender0 trained", sender)):
            wait_until(lambda text=text, process=process: text in process.text, text, PATIENCE_SEC)
        before = hosts.received_bytes()
        wait_until(lambda: hosts.received_bytes() > before + 1e6, "the update", PATIENCE_SEC)
        print(f"the link is cut for {seconds:g} s", flush=True)
        hosts.cut()
        time.sleep(seconds)
        hosts.mend()
        start = time.monotonic()
        code = fl_server.popen.wait(PATIENCE_SEC)
        print(f"the run ended {time.monotonic() - start:.1f} s after the link was mended", end="")
        print(f", with exit code {code}")
        print(fl_server.text)
    with History(state) as history:
        for record in history.rounds():
            print(f"round {record.round}: {record.robots} robots, {record.wall_sec:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=65.0, help="length of the cut")
    options = parser.parse_args()
    try:
        hosts = TwoHosts()
        hosts.slow_down("16mbit")
    except PermissionError as error:
        print(f"bench/link_cut.py: {error}", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="fl_bench_") as folder:
            do_run(Path(folder), hosts, options.seconds)
    finally:
        hosts.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
