"""Names are drawn in the letters that there are, and never as question marks."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fl_robot_ros.images import drawn_text
from fl_robot_ros.images.drawn_text import BOLD, draw_text, drawable_names, shortened, text_width

TRAY = "\u6258\u76d8"

needs_fonts = pytest.mark.skipif(
    not hasattr(cv2, "FontFace"), reason="OpenCV has fonts as of version 5"
)


@pytest.fixture
def _ascii_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Do as OpenCV before version 5."""
    monkeypatch.setattr(drawn_text, "_HAS_FONTS", False)
    drawn_text._can_draw.cache_clear()
    yield
    drawn_text._can_draw.cache_clear()


def drawn(text: str) -> NDArray[np.uint8]:
    image = np.zeros((40, 400, 3), np.uint8)
    draw_text(image, text, (5, 30), 0.6, (255, 255, 255))
    return image


@pytest.mark.usefixtures("_ascii_only")
def test_without_fonts_names_become_ascii_and_stay_apart() -> None:
    names = ["caf\u00e9", "na\u00efve", "Stra\u00dfe", TRAY, "a?b", "cafe", "\u00f8l"]
    assert drawable_names(names) == {
        "caf\u00e9": r"caf\xe9",
        "na\u00efve": "naive",
        "Stra\u00dfe": "Strasse",
        TRAY: r"\u6258\u76d8",
        "a?b": "a?b",
        "cafe": "cafe",
        "\u00f8l": "ol",
    }


@needs_fonts
def test_with_fonts_names_stay_as_they_are_where_there_is_a_glyph() -> None:
    pallet, box = "\u043f\u0430\u043b\u043b\u0435\u0442", "\u03ba\u03bf\u03c5\u03c4\u03af"
    names = ["cafe", "caf\u00e9", "Stra\u00dfe", "\u0141\u00f3d\u017a", TRAY, pallet, box, "a?b"]
    assert drawable_names(names) == {name: name for name in names}
    assert not np.array_equal(drawn(TRAY), drawn("??"))
    assert not np.array_equal(drawn(TRAY), drawn(TRAY[::-1]))
    # A script that it lacks, beside a letter that it has.
    assert drawable_names(["\u0e44\u00e9"]) == {"\u0e44\u00e9": "\\u0e44\u00e9"}


def test_long_names_are_cut_to_their_room() -> None:
    assert shortened("pallet", 0.5, 200) == "pallet"
    cut = shortened("pallet " * 20, 0.5, 200, thickness=BOLD)
    assert cut.endswith("..")
    assert text_width(cut, 0.5, thickness=BOLD) <= 200
    assert cut.startswith("pallet pal")


@pytest.mark.usefixtures("_ascii_only")
def test_labels_that_begin_alike_stay_apart_when_they_are_cut() -> None:
    labels = [f"\u65e5\u672c\u8a9e\u306e\u540d\u524d{end}" for end in "\u4e00\u4e8c"]
    names = drawable_names(labels)
    cuts = [shortened(name, 0.58, 276, thickness=BOLD, keeps_end=True) for name in names.values()]
    assert cuts[0] != cuts[1]
    for cut, name in zip(cuts, names.values(), strict=True):
        assert text_width(cut, 0.58, thickness=BOLD) <= 276
        head, _, tail = cut.partition("..")
        assert name.startswith(head)
        assert name.endswith(tail)
        assert abs(len(head) - len(tail)) <= 1
