"""The README's first robot: its own commands, followed line by line."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from fleet import Process, free_port
from waiting import wait_until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
RUN_TIMEOUT_SEC = 240.0


def readme_terminals() -> list[list[str]]:
    """Return the commands of each terminal, those for every terminal first."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## A first robot of your own\n")[1].split("\n## ")[0]
    block = section.split("```bash\n")[1].split("```")[0]
    terminals: list[list[str]] = []
    for line in block.splitlines():
        if line.startswith("# "):
            terminals.append([])
        else:
            terminals[-1].append(line)
    return terminals


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder as the README wants it: a clone with photos of two classes."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(BIN)
    generator = np.random.default_rng(0)
    for label, colour in {"cup": (40, 60, 220), "phone": (200, 90, 30)}.items():
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(20):
            noise = generator.normal(0, 20, (48, 64, 3))
            photo = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "photos" / label / f"{number}.jpg"), photo)
    return tmp_path


@contextmanager
def terminal(name: str, commands: list[str], folder: Path) -> Iterator[Process]:
    """Run commands, of which only the last does not end, as a shell would."""
    *first, last = commands
    script = "\n".join(["set -e", *first, f"exec {last}"])
    process = Process(["bash", "-c", script], folder / f"{name}.log", cwd=folder)
    try:
        yield process
    finally:
        process.stop()


@pytest.mark.usefixtures("ros_env")
def test_the_readmes_first_robot_learns_what_its_photos_show(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere, server, client, perception, camera = readme_terminals()
    # The default port may be taken on this machine.
    port = free_port()
    monkeypatch.setenv("SERVER_PORT", str(port))
    server[-1] += f" --port {port}"
    with terminal("server", everywhere + server, folder) as server_process:
        wait_until(lambda: "serving robots" in server_process.text, "the server", RUN_TIMEOUT_SEC)
        with (
            terminal("client", everywhere + client, folder),
            terminal("perception", everywhere + perception, folder) as perception_process,
        ):
            done = subprocess.run(
                ["bash", "-c", "\n".join(["set -e", *everywhere, *camera])],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=RUN_TIMEOUT_SEC,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            # A camera that stutters has some of its images sampled out.
            [images] = re.findall(r"run started with (\d+) images of 2 labels: ", done.stdout)
            assert 30 <= int(images) <= 40
            assert "idle, round 5 of 5, the run is finished\n" in done.stdout
            share, right = re.findall(r"accuracy ([\d.]+)% \((\d+) of 40\)", done.stdout)[0]
            assert float(share) >= 90, right
            assert cv2.imread(str(folder / "sheet.png")) is not None
            current = (folder / "first_robot" / "models" / "current").resolve()
            wait_until(lambda: str(current) in perception_process.text, "the swap")
        assert server_process.popen.wait(RUN_TIMEOUT_SEC) == 0
