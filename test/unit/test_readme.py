"""README and docs/ say what the code says, and every link in them leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fl_robot_ros.capture.verdicts import Verdict
from fl_robot_ros.worker_link.run_status import RunState

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
MAX_README_LINES = 150

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def without_code(page: Path) -> str:
    """Return a page without its code blocks, in which nothing is a heading or a link."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {text.replace(" ", "-") for text in words}


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(path), f"{page.name}: {target}"


def test_the_readme_leads_to_every_page() -> None:
    linked = re.findall(r"\]\(([^)#\s]+)", README.read_text(encoding="utf-8"))
    assert {str(page.relative_to(ROOT)) for page in PAGES[1:]} <= {*linked}


def test_the_tests_that_show_what_faults_do_exist() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:unit|system|bench|test)/[\w/]+\.py)`", text)
    assert named
    for name in named:
        folder = ROOT / "test" if name.startswith(("unit/", "system/")) else ROOT
        assert (folder / name).is_file(), name


def test_the_readmes_settings_are_those_of_the_full_table() -> None:
    table = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8").splitlines()
    text = README.read_text(encoding="utf-8").split("## Settings that people change\n")[1]
    rows = re.findall(r"^\| `.+$", text.split("\n## ")[0], re.MULTILINE)
    assert len(rows) == 12
    assert {*rows} <= {*table}


def test_the_generated_files_are_what_the_settings_make_of_them() -> None:
    program = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "import make_settings as it\n"
        "for path, text in it.files().items():\n"
        "    assert path.read_text(encoding='utf-8') == text, f'{path}: run make docs'"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT / "docs", check=True, timeout=60)


def test_every_name_of_the_ros_interface_is_there_and_in_the_code() -> None:
    nodes = ROOT / "fl_robot_ros" / "nodes"
    code = "\n".join(path.read_text(encoding="utf-8") for path in nodes.glob("*.py"))
    readme = README.read_text(encoding="utf-8")
    for name in set(re.findall(r'"(fl/[a-z_/]+)"', code)):
        assert f"`{name}`" in readme, name
    for name in set(re.findall(r"`(fl/[a-z_/]+)`", TEXT)):
        assert f'"{name}"' in code, name


def test_every_state_of_a_run_is_named() -> None:
    states = ", ".join(state.value for state in RunState)
    assert f"({states})" in README.read_text(encoding="utf-8")


def test_every_verdict_on_a_frame_is_named() -> None:
    words = set(re.findall(r"\w+", (ROOT / "docs" / "capture.md").read_text(encoding="utf-8")))
    assert {verdict.value for verdict in Verdict} <= words


def test_files_and_commands_that_are_named_exist() -> None:
    folders = "config|docs|examples|launch|requirements|test|fl_robot_ros"
    for name in set(re.findall(rf"`((?:{folders})/[\w./-]+\.\w+)`", TEXT)):
        assert (ROOT / name).is_file(), name
    for name in set(re.findall(r"`(\w+\.launch\.py)`", TEXT)):
        assert (ROOT / "launch" / name).is_file(), name
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    commands = set(re.findall(r"`(?:\.venv/bin/)?(fl_[a-z]+)[ `]", TEXT)) - {"fl_robot_ros"}
    assert "fl_predict" in commands
    for name in commands:
        assert f"{name} = " in setup, name


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`?\bmake ([a-z-]+)(?:`| ARGS|$| {2,}#)", TEXT, re.MULTILINE))
    assert {"demo", "test", "docs"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_room_is_described() -> None:
    table = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "fl_robot_ros").glob("*/__init__.py")}
    assert {room for room in rooms if f"`{room}/`" not in table} == set()
