"""Names are drawn in the letters that there are, and never as question marks."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fl_robot_ros.images import drawn_text, system_font
from fl_robot_ros.images.drawn_text import BOLD, draw_text, drawable_names, shortened, text_width

TRAY = "\u6258\u76d8"

needs_fonts = pytest.mark.skipif(
    not hasattr(cv2, "FontFace"), reason="OpenCV has fonts as of version 5"
)
needs_system_font = pytest.mark.skipif(
    system_font.font_for("\u0436") is None, reason="needs Pillow and a font with Cyrillic letters"
)


@pytest.fixture
def _forgotten() -> Iterator[None]:
    """Forget which characters can be drawn, before a test that changes it and after it."""
    caches = (drawn_text._has_glyph, system_font.font_for)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def _old_opencv(_forgotten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do as OpenCV before version 5."""
    monkeypatch.setattr(drawn_text, "_HAS_FONTS", False)


@pytest.fixture
def _no_pillow(_forgotten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do as without Pillow."""
    monkeypatch.setattr(system_font, "Image", None)


def drawn(text: str) -> NDArray[np.uint8]:
    image = np.zeros((40, 400, 3), np.uint8)
    draw_text(image, text, (5, 30), 0.6, (255, 255, 255))
    return image


@pytest.mark.usefixtures("_old_opencv", "_no_pillow")
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
@pytest.mark.usefixtures("_no_pillow")
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


@pytest.mark.usefixtures("_old_opencv", "_no_pillow")
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


@needs_system_font
@pytest.mark.usefixtures("_old_opencv")
def test_a_font_of_the_system_draws_what_opencv_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    pallet = "\u043f\u0430\u043b\u043b\u0435\u0442 7"
    assert drawable_names([pallet, "box"]) == {pallet: pallet, "box": "box"}
    ink = np.nonzero(drawn(pallet).any(axis=(0, 2)))[0]
    assert ink[0] - 5 in range(4)
    assert 5 + text_width(pallet, 0.6) - ink[-1] in range(-2, 4)
    for place in ((-30, 5), (390, 39), (900, 20), (5, -90)):
        image = np.zeros((40, 400, 3), np.uint8)
        draw_text(image, pallet, place, 0.6, (255, 255, 255))
        assert image.any() == (place[0] < 400 and place[1] > 0)
    cut = shortened(pallet * 9, 0.5, 200, keeps_end=True)
    assert text_width(cut, 0.5) <= 200
    # A name with a character that no font has keeps the others.
    font = system_font.font_for("\u0436")
    monkeypatch.setattr(system_font, "_fonts", lambda: [font])
    system_font.font_for.cache_clear()
    linear_a = "\U00010600"
    assert drawable_names([f"\u0436{linear_a}"]) == {f"\u0436{linear_a}": "\u0436\\U00010600"}


@needs_fonts
@needs_system_font
@pytest.mark.usefixtures("_forgotten")
def test_a_name_is_drawn_whole_by_opencv_or_by_a_font(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of these, OpenCV lacks the first and the only font the second.
    lao, name = "\u0e81", f"\u0e81{TRAY}"
    font = system_font.font_for("\u0436")
    monkeypatch.setattr(system_font, "_fonts", lambda: [font])
    system_font.font_for.cache_clear()
    if system_font.font_for(lao) is None or system_font.font_for(TRAY[0]) is not None:
        pytest.skip("needs DejaVu Sans")
    assert drawable_names([lao, name]) == {lao: lao, name: f"\\u0e81{TRAY}"}


@needs_system_font
def test_what_is_written_from_right_to_left_is_for_a_font() -> None:
    hebrew = "\u05d0\u05d1"
    if system_font.font_for(hebrew[0]) is None:
        pytest.skip("needs a font with Hebrew letters, and Raqm")
    assert drawable_names([hebrew]) == {hebrew: hebrew}
    first, both = drawn(hebrew[0]), drawn(hebrew)
    ink = [np.nonzero(image.any(axis=(0, 2)))[0] for image in (first, both)]
    width = ink[0][-1] - ink[0][0]
    assert np.array_equal(
        both[:, ink[1][-1] - width :][:, : width + 1], first[:, ink[0][0] :][:, : width + 1]
    )
