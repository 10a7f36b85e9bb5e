"""Label files, CSV and YAML: what is read, and what is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fl_robot_ros.errors import LabelError
from fl_robot_ros.labels import label_file, label_table
from fl_robot_ros.labels.label_file import LabelRange
from fl_robot_ros.labels.label_ranges import MAX_TOPICS, LabelRanges

SEC = 1_000_000_000
DAY = 1_714_564_800  # 2024-05-01T12:00:00Z
TOPIC = "/robot1/camera_left/image_raw"

Load = Callable[[str, str], LabelRanges]


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def yaml_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = getattr(yaml, request.param, None)
    if loader is None:
        pytest.skip(f"PyYAML without {request.param}")
    monkeypatch.setattr(label_file, "_YAML_LOADER", loader)


def test_csv_since_the_epoch_is_exact_to_the_ns(load: Load) -> None:
    ranges = load("labels.csv", f"start,end,label\n{DAY}.123456789,{DAY}.123456790,pallet\n")
    start_ns = DAY * SEC + 123_456_789
    found = [ranges.at(TOPIC, start_ns + offset, 0) for offset in (-1, 0, 1)]
    assert found == [None, "pallet", None]
    assert not ranges.is_relative


@pytest.mark.usefixtures("yaml_loader")
def test_yaml_since_the_epoch_is_exact_to_the_ns(load: Load) -> None:
    text = f"- start: {DAY}.123456789\n  end: {DAY}.123456790\n  label: pallet\n"
    ranges = load("labels.yaml", text)
    start_ns = DAY * SEC + 123_456_789
    found = [ranges.at(TOPIC, start_ns + offset, 0) for offset in (-1, 0, 1)]
    assert found == [None, "pallet", None]


@pytest.mark.usefixtures("yaml_loader")
def test_yaml_texts_are_labels_as_they_are_written(load: Load) -> None:
    words = ["no", "on", "5", "1.50", "'~'", "2024-05-01", "~", "null", "", "''", "cafe\u0301"]
    rows = [f"- {{start: {n}, end: {n + 1}, label: {word}}}\n" for n, word in enumerate(words)]
    ranges = load("labels.yml", "# by hand\n---\n" + "".join(rows))
    found = [ranges.at(TOPIC, n * SEC, 0) for n in range(len(words) + 1)]
    expected = ["no", "on", "5", "1.50", "~", "2024-05-01", "", "", "", "", "caf\u00e9", None]
    assert found == expected


def test_csv_as_spreadsheets_write_it(load: Load) -> None:
    text = (
        "\ufeffStart , End,Label,Topic\r\n\r\n"
        f'2024-05-01T12:00:00Z,2024-05-01 14:00:01.5+02:00,"stop, sign",\r\n'
        f"{DAY + 5},{DAY + 6}, box ,/camera_left/image_raw\r\n,,,\r\n"
    )
    ranges = load("labels.csv", text)
    assert ranges.at("/any", DAY * SEC, 0) == "stop, sign"
    assert ranges.at("/any", DAY * SEC + 1_500_000_000, 0) is None
    assert ranges.at(TOPIC, (DAY + 5) * SEC, 0) == "box"
    assert ranges.at("/robot1/camera_right/image_raw", (DAY + 5) * SEC, 0) is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("5,3,cat", "line 3: end is '3'; expected a time after start, '5'"),
        ("5,5,cat", "line 3: end is '5'; expected a time after start"),
        ("x,5,cat", "line 3: start is 'x'; expected seconds"),
        ("1,,cat", "line 3: end is ''; expected seconds"),
        ("-1,5,cat", "line 3: start is '-1'; expected seconds"),
        ("1e3,5,cat", "line 3: start is '1e3'; expected seconds"),
        ("1,5.1234567891,cat", "line 3: end is '5.1234567891'; expected seconds with up to 9"),
        ("nan,inf,cat", "line 3: start is 'nan'; expected seconds"),
        ("\u0661,5,cat", "line 3: start is '\u0661'; expected seconds"),
        ("1714564800123,1714564800124,cat", "line 3: start is '1714564800123'; expected seconds"),
        ("2024-05-01T12:00:00,5,cat", "start is '2024-05-01T12:00:00'; .* its time zone"),
        ("2024-02-30T12:00:00Z,5,cat", "'2024-02-30T12:00:00Z', which is no date"),
        ("2024-05-01T12:00:60Z,5,cat", "line 3: start is '2024-05-01T12:00:60Z'"),
        ("100000000,100000001,cat", "line 3: start is '100000000', but line 2 has another kind"),
        ("1,2", "line 3: 2 values; expected 3, for start,end,label"),
        ("1,2,cat,topic", "line 3: 4 values; expected 3"),
        ('1,2,"cat', "line 3: is not CSV"),
        ('1,2,"c\nat"', "line 3: label .* has control"),
        ("1,2," + "x" * 65, "line 3: label .* has 65 characters"),
        ("1,2,\x1b[31mred", "line 3: label .* has control"),
        ("1,2," + "x" * 200_000, "line 3: "),
    ],
)
def test_bad_row_is_refused_with_its_line(load: Load, row: str, message: str) -> None:
    with pytest.raises(LabelError, match=r"^label file .*labels\.csv: .*" + message) as caught:
        load("labels.csv", f"start,end,label\n0,1,cat\n{row}\n")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("topic", ["/", "a b", "a\tb"])
def test_what_is_no_topic_is_refused(load: Load, topic: str) -> None:
    with pytest.raises(LabelError, match=r"line 2: topic is .*; expected the name of a topic"):
        load("labels.csv", f"start,end,label,topic\n0,1,cat,{topic}\n")


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n\n", "start;end;label\n", "0,1,cat\n", "start,end\n"),
        *("start,end,label,camera\n", "start,end,label,label\n"),
    ],
)
def test_csv_without_its_header_is_refused(load: Load, text: str) -> None:
    with pytest.raises(LabelError, match=r"line 1: .*expected.* start,end,label"):
        load("labels.csv", text)


@pytest.mark.usefixtures("yaml_loader")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: nothing there; expected a list"),
        ("cat", "line 1: 'cat' is out of place; expected one list of mappings"),
        ("start: 1\n", "line 1: a mapping is out of place"),
        ("- cat\n", "line 1: 'cat' is out of place"),
        ("- [1, 2, cat]\n", "line 1: a list is out of place"),
        ("-\n  start: 1\n  end: 2\n", "line 2: label is missing"),
        ("- {start: 1, end: 2, lable: x}", "line 1: unknown key 'lable'; expected start"),
        ("- {start: 1, start: 2}", "line 1: start is there twice"),
        ("- {start: 1, end: {x: y}, label: a}", "line 1: a mapping is out of place"),
        ("- {start: 1, end: [2], label: a}", "line 1: a list is out of place"),
        ("- {start: null, end: 2, label: a}", "line 1: start is ''; expected seconds"),
        ("- &a {start: 1, end: 2, label: a}\n- *a\n", "line 2: an alias is out of place"),
        ("- &a {start: 1, end: 2, label: a}\n- {<<: *a}\n", "line 2: unknown key '<<'"),
        ("- {start: &b 1, end: *b, label: a}", "line 1: an alias is out of place"),
        ("[]\n---\n[]\n", "line 2: a second document is out of place"),
        ("[]\n...\n- {", "line 3: "),
        ("- {start: 1\n", "line .: is not YAML"),
        ("\t- x", "line 1: is not YAML"),
        ('- {start: 1, end: 2, label: "\\UFFFFFFFF"}', "line "),
        ("%YAML " + "9" * 5000 + ".1\n---\n[]\n", "line "),
        ("- !!python/object/apply:os.abort []\n", "line 1: a list is out of place"),
        ("[" * 200_000, "line 1: "),
        ("- " * 200_000, "line 1: "),
        ("{" * 200_000, "line 1: "),
    ],
)
def test_other_yaml_is_refused(load: Load, text: str, message: str) -> None:
    with pytest.raises(LabelError, match=message) as caught:
        load("labels.yaml", text)
    assert len(str(caught.value)) < 500


@pytest.mark.usefixtures("yaml_loader")
def test_aliases_are_refused_before_they_grow(load: Load) -> None:
    levels = [f"{{x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]}}" for n in range(1, 30)]
    text = "- {start: &x0 0, end: 1, label: a}\n" + "".join(f"- {level}\n" for level in levels)
    with pytest.raises(LabelError, match="line 2: unknown key 'x1'"):
        load("labels.yaml", text)
    with pytest.raises(LabelError, match="line 2: a list is out of place"):
        load("labels.yaml", re.sub(r"x\d+: ", "label: ", text))


@pytest.mark.usefixtures("yaml_loader")
def test_tags_make_nothing_but_text(load: Load) -> None:
    ranges = load("labels.yaml", "- !!set {start: 0, end: 1, label: !!python/name:os.abort '1'}\n")
    assert ranges.at(TOPIC, 0, 0) == "1"


def test_too_much_is_refused(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{n},{n + 1},cat\n" for n in range(10))
    monkeypatch.setattr(label_file, "MAX_RANGES", 9)
    with pytest.raises(LabelError, match="line 11: too many labels; expected at most 9"):
        load("labels.csv", "start,end,label\n" + rows)
    monkeypatch.setattr(label_table, "MAX_FILE_BYTES", 50)
    with pytest.raises(LabelError, match="is too large; expected at most 50 bytes"):
        load("labels.csv", "start,end,label\n" + rows)
    with pytest.raises(LabelError, match=f"{MAX_TOPICS + 1} topics; expected at most"):
        LabelRanges(LabelRange(0, 1, "cat", f"topic{n}") for n in range(MAX_TOPICS + 1))


def test_what_is_no_readable_text_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    with pytest.raises(LabelError, match="is not a file"):
        LabelRanges.load(path)
    os.mkfifo(path)
    with pytest.raises(LabelError, match="is not a file"):
        LabelRanges.load(path)
    path.unlink()
    path.write_bytes("start,end,label\n".encode("utf-16"))
    with pytest.raises(LabelError, match="line 1: is not UTF-8"):
        LabelRanges.load(path)
    path.write_bytes(b"start,end,label\n0,1,caf\xe9\n")
    with pytest.raises(LabelError, match="line 2: is not UTF-8"):
        LabelRanges.load(path)


YAML_PIECES = ["- ", "start", "end", "label", "topic", ": ", "1", "2.5", "\n", "  ", "{", "}", "["]
YAML_PIECES += ["]", ", ", "&a ", "*a ", "!!x ", "'", '"', "\\u12", "%YAML 1.1\n", "---\n", "? "]
YAML_PIECES += ["|\n", ">-\n", "#", "\t", "\ud7ff", "\x85", "\0", "<<", "~", "\r", "...\n"]
CSV_PIECES = ["start,end,label\n", "start,end,label,topic\n", "0,1,cat\n", "5,6,dog,/cam\n", ","]
CSV_PIECES += [
    '"',
    "\n",
    "\r",
    "\0",
    " ",
    "2024-05-01T12:00:00Z",
    "1714564800",
    "\ufeff",
    ";",
    "1",
]


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_any_text_is_labels_or_one_clear_error(
    loader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_file, "_YAML_LOADER", getattr(yaml, loader, yaml.SafeLoader))
    pieces = st.lists(st.sampled_from(YAML_PIECES), max_size=40).map("".join)
    rows = st.lists(st.sampled_from(CSV_PIECES), max_size=20).map("".join)
    after_header = st.text(max_size=60).map("start,end,label\n0,1,".__add__)
    binary = st.binary(max_size=60)
    texts = st.one_of(st.text(max_size=80), pieces, rows, after_header)
    contents = st.one_of(texts.map(str.encode), binary)

    @given(st.sampled_from(["labels.csv", "labels.yaml"]), contents)
    def check(name: str, content: bytes) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        label: str | None = None
        message = f"{name} is fine"
        try:
            label = LabelRanges.load(path).at(TOPIC, SEC // 2, 0)
        except LabelError as error:
            message = str(error)
        assert name in message
        assert len(message) < 500 + len(str(path))
        assert label is None or len(label) <= 64

    check()
