"""Subtitle files of three formats are read cue by cue, and what cannot be read is named with its line."""

from pathlib import Path

import pytest

from slt_cache.corpora.base import Problems
from slt_cache.corpora.cues import NO_TIER, UNREADABLE_CUE, ChooseTier, Cue, read_cues
from slt_cache.errors import InputError
from tests.helpers.subtitles import eaf


def read(path: Path, text: str, tier: str | None = None) -> tuple[list[Cue], Problems]:
    path.write_text(text, encoding="utf-8")
    problems: Problems = {}
    return read_cues(path, tier, problems), problems


def test_webvtt_is_read_without_its_header_comments_names_and_positions(tmp_path: Path) -> None:
    text = (
        "\ufeffWEBVTT - a title\nKind: captions\nLanguage: en\n\nNOTE\nno cue --\nfor two lines\n\n"
        "STYLE\n::cue { color: red }\n\nintro\n00:01.000 --> 00:02.500 align:start position:0%\nHello\nthere\n\n"
        "01:00:14.100 --> 01:00:17.266\n<v Bob>Bye\n"
    )
    cues, problems = read(tmp_path / "a.vtt", text)
    assert [(cue.start, cue.end, cue.text) for cue in cues] == [
        (1.0, 2.5, "Hello\nthere"),
        (3614.1, 3617.266, "<v Bob>Bye"),
    ]
    assert cues[0].place == "a.vtt line 13"
    assert problems == {}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_subrip_is_read_with_and_without_empty_lines_between_its_cues(tmp_path: Path, end: str) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,500\nHello\n2\n00:00:03,000 --> 00:00:04,000\n12\n\n3\n"
    text += "00:00:05,5 --> 00:00:06,5\n"
    path = tmp_path / "a.srt"
    path.write_bytes(text.replace("\n", end).encode())
    problems: Problems = {}
    assert [(cue.start, cue.end, cue.text) for cue in read_cues(path, None, problems)] == [
        (1.0, 2.5, "Hello"),
        (3.0, 4.0, "12"),
        (5.5, 6.5, ""),
    ]
    assert problems == {}


def test_a_broken_cue_is_named_and_takes_no_other_with_it(tmp_path: Path) -> None:
    text = (
        "WEBVTT\n\n00:00:01.000 --> 00:00:xx.000\nlost\n\n00:00:05.000 --> 00:00:04.000\nbackwards\n\n"
        "00:00:06.000 -> 00:00:07.000\nwrong arrow\n\n00:00:08.000 --> 00:00:09.000\nkept\n\n-->\n"
    )
    cues, problems = read(tmp_path / "a.vtt", text)
    assert [cue.text for cue in cues] == ["kept"]
    assert [entry.partition(":")[0] for entry in problems[UNREADABLE_CUE]] == [
        "a.vtt line 3",
        "a.vtt line 6",
        "a.vtt line 9",
        "a.vtt line 15",
    ]
    assert "end 4.0 is not after start 5.0" in problems[UNREADABLE_CUE][1]


def test_a_tier_of_elan_is_read_by_name_with_its_signer_and_the_times_of_its_parent(tmp_path: Path) -> None:
    text = eaf(
        {"Text@A": ("A", [(0, 1500, "Guten Tag.")]), "Text@B": ("B", [(1500, 2000, "Hallo")])}, "Gloss", origin=100
    )
    path = tmp_path / "d.eaf"
    assert [(cue.start, cue.end, cue.text, cue.signer) for cue in read(path, text, "Text@A")[0]] == [
        (0.1, 1.6, "Guten Tag.", "A")
    ]
    assert [(cue.start, cue.text, cue.signer) for cue in read(path, text, "Text@*")[0]] == [
        (0.1, "Guten Tag.", "A"),
        (1.6, "Hallo", "B"),
    ]
    assert [(cue.start, cue.end, cue.text) for cue in read(path, text, "Gloss")[0]] == [(0.1, 1.6, "Gloss of a0")]
    with pytest.raises(ChooseTier, match=r"tiers Text@A, Text@B, Gloss. Choose one with --tier NAME"):
        read(path, text)
    assert read(path, text, "text") == ([], {NO_TIER: ["d.eaf: text; it has Text@A, Text@B, Gloss"]})
    only = eaf({"Text": ("", [(0, 1500, "Guten Tag.")]), "empty": ("", [])})
    assert [cue.text for cue in read(path, only)[0]] == ["Guten Tag."]


def test_annotations_without_times_are_named(tmp_path: Path) -> None:
    text = eaf({"Text": ("", [(0, 1500, "Guten Tag."), (2000, 1000, "rückwärts")])}, "Gloss")
    broken = text.replace('TIME_VALUE="0"', "").replace('ANNOTATION_REF="a0"', 'ANNOTATION_REF="r0"')
    assert [len(read(tmp_path / "d.eaf", broken, tier)[1][UNREADABLE_CUE]) for tier in ("Text", "Gloss")] == [2, 2]


@pytest.mark.parametrize(
    ("name", "content"), [("a.vtt", b"\xff\xfeW\0E\0"), ("a.srt", b"f\xfcr"), ("a.eaf", b"<ANNOT")]
)
def test_a_file_that_is_no_text_or_cut_off_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_cues(tmp_path / name, None, {})
