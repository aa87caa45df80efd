"""Subtitle files: times, escapes, one cue for each sentence, and where they may be written."""

from pathlib import Path

import pytest

from slt_cache.corpora.captions import Rules, cleaned
from slt_cache.corpora.cues import read_cues
from slt_cache.corpora.write_cues import JOINER, SubtitleFiles, srt, vtt
from slt_cache.errors import InputError

SENTENCES = [
    (0.0, 1.2345, "a < b & c > d --> e"),
    (1.5, 2.0, "two\n\nlines"),
    (3.0, 3.0, ""),
    (360_000.25, 360_001, "x"),
]


def test_times_and_texts_stand_as_each_format_wants_them() -> None:
    assert vtt(SENTENCES).split("\n\n") == [
        "WEBVTT",
        "00:00:00.000 --> 00:00:01.234\na &lt; b &amp; c &gt; d --&gt; e",
        "00:00:01.500 --> 00:00:02.000\ntwo lines",
        "00:00:03.000 --> 00:00:03.001",
        "\n100:00:00.250 --> 100:00:01.000\nx\n",
    ]
    assert srt(SENTENCES[:2]).split("\n\n") == [
        f"1\n00:00:00,000 --> 00:00:01,234\na < b & c > d --{JOINER}> e",
        "2\n00:00:01,500 --> 00:00:02,000\ntwo lines\n",
    ]
    assert srt([(0, 1, "{\\an8} <i>")]).endswith(f"{{{JOINER}\\an8}} <{JOINER}i>\n")


@pytest.mark.parametrize("suffix", [".srt", ".vtt"])
def test_they_are_read_back_as_they_were(tmp_path: Path, suffix: str) -> None:
    texts = ["a < b & c > d --> e", "<i>no tag</i>", "WEBVTT", "12", "", "NOTE grüße 你好"]
    files = SubtitleFiles(tmp_path / f"a{suffix}", suffix, [Path("a.mp4")])
    for number, text in enumerate(texts):
        files.add(Path("a.mp4"), number, number + 0.5, text)
    files.save()
    problems: dict[str, list[str]] = {}
    cues = read_cues(tmp_path / f"a{suffix}", None, problems)
    assert not problems
    assert [(cue.start, cue.end) for cue in cues] == [(number, number + 0.5) for number in range(len(texts))]
    assert [cleaned(cue.text, Rules()).replace(JOINER, "") for cue in cues] == texts


def test_several_videos_get_files_of_their_names_in_a_folder(tmp_path: Path) -> None:
    videos = [Path("x/a.mp4"), Path("y/b.mkv"), Path("c.mp4")]
    files = SubtitleFiles(tmp_path / "new" / "out", ".srt", videos)
    for video in videos[:2]:
        files.add(video, 0, 1, video.stem)
    files.save()
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == ["a.srt", "b.srt"]


@pytest.mark.parametrize(
    ("out", "videos", "said"),
    [
        ("out.srt", ["a.mp4", "b.mp4"], "one file for 2 videos. Name a folder"),
        ("out", ["x/a.mp4", "y/a.mkv"], "several videos are called a"),
        ("clip.mp4", ["clip.mp4"], "not a file with the suffix .srt, and not a folder"),
        ("clip.mp4/out.srt", ["clip.mp4"], "clip.mp4 is no folder"),
    ],
)
def test_what_cannot_be_written_is_refused_first(tmp_path: Path, out: str, videos: list[str], said: str) -> None:
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(InputError, match=said):
        SubtitleFiles(tmp_path / out, ".srt", [tmp_path / video for video in videos])
