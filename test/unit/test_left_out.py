"""Says which tests were left out, and why."""

from __future__ import annotations

import pytest
from needed_packages import NEEDED, lacking


@pytest.mark.parametrize("path", NEEDED)
def test_what_these_tests_need_is_there(path: str) -> None:
    missing = lacking(NEEDED[path])
    if missing:
        pytest.skip(f"test/{path} was left out: needs {', '.join(missing)}")
