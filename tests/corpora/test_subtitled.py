"""Your own videos with subtitles: found by name, whole videos in one split, and everything left out is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import read_manifest
from tests.helpers import published
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.subtitles import ROLLING, eaf, srt, vtt


def prepare(root: Path, *words: Any) -> Ran:
    return slt_cache(
        "prepare", "subtitles", "--root", root, "--run", root.parent / "run", "--config", TINY, "--json", *words
    )


def prepared(root: Path, *words: Any) -> tuple[list[Clip], dict[str, int]]:
    ran = prepare(root, *words)
    assert ran.code == 0, ran.err
    return read_manifest(root.parent / "run" / "manifest.tsv"), json.loads(ran.out)["problems"]


def one(text: str, start: str = "00:00:00.100", end: str = "00:00:00.900") -> str:
    return vtt([(start, end, text)])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three videos, each with another kind of file."""
    root = tmp_path / "videos"
    published.videos(root, "a", "b", "c")
    published.written(root / "a.de.vtt", one("Guten Tag."))
    published.written(
        root / "b.srt", srt([("00:00:00,000", "00:00:00,400", "Hallo"), ("00:00:00,450", "00:00:01,000", "Welt!")])
    )
    published.written(
        root / "c.eaf", eaf({"Text": ("", [(100, 500, "Erster Satz"), (500, 900, "Zweiter Satz")])}, "Glosse")
    )
    return root


def test_videos_with_three_kinds_of_subtitles_become_clips_with_times(root: Path) -> None:
    clips, problems = prepared(root, "--tier", "Text")
    assert sorted((clip.id, clip.start, clip.end, clip.text) for clip in clips) == [
        ("a_100-900", 0.1, 0.9, "Guten Tag."),
        ("b_0-1000", 0.0, 1.0, "Hallo Welt!"),
        ("c_100-500", 0.1, 0.5, "Erster Satz"),
        ("c_500-900", 0.5, 0.9, "Zweiter Satz"),
    ]
    assert {clip.split for clip in clips} == {"train", "dev", "test"}
    assert all(clip.video.is_file() for clip in clips)
    assert problems == {"language": 1}
    assert "language" not in prepared(root, "--tier", "Text", "--set", "llm.language=de_DE")[1]


def test_a_tier_that_must_be_chosen_is_asked_for(root: Path) -> None:
    ran = prepare(root)
    assert (ran.code, "has the tiers Text, Glosse. Choose one with --tier NAME." in ran.err) == (2, True)


def test_times_are_shifted(root: Path) -> None:
    clips, _ = prepared(root, "--tier", "Text", "--shift", "-0.2")
    assert sorted((clip.id, clip.start, clip.end) for clip in clips)[0] == ("a_0-700", 0.0, 0.7)


def test_options_for_captions_are_refused_for_other_corpora(tmp_path: Path) -> None:
    ran = slt_cache("prepare", "phoenix14t", "--root", tmp_path, "--run", tmp_path / "run", "--shift", "1")
    assert (ran.code, "phoenix14t has no caption files" in ran.err) == (2, True)


def test_one_language_of_several_must_be_chosen(root: Path) -> None:
    published.written(root / "a.en-GB.vtt", one("Good day."))
    ran = prepare(root, "--tier", "Text")
    assert (ran.code, "--set corpus.captions=" in ran.err) == (2, True)
    clips, problems = prepared(root, "--tier", "Text", "--set", "corpus.captions=en")
    assert "Good day." in {clip.text for clip in clips}
    assert "language" not in problems  # English, as the setting says


def test_what_has_no_partner_or_no_words_is_listed(root: Path) -> None:
    published.videos(root / "more", "d", "e")
    published.written(root / "more" / "e.vtt", one("[Music]"))
    published.written(root / "f.vtt", one("No video."))
    published.written(root / "b.vtt", one("Taken, since it stands before .srt."))
    (root / "a.de.vtt").write_bytes("für".encode("latin-1"))
    _, problems = prepared(root, "--tier", "Text", "--set", "llm.language=de_DE")
    assert problems == {
        "captions without a video (left out)": 1,
        "video without captions (left out)": 1,
        "found in several places (the first is taken)": 1,
        "caption file that cannot be read (left out)": 1,
        "caption without words, such as [Music] (left out)": 1,
        "split without a clip": 2,
    }


def test_nothing_to_read_is_refused(tmp_path: Path) -> None:
    published.videos(tmp_path / "root", "a")
    ran = prepare(tmp_path / "root")
    assert (ran.code, "no video with a .vtt, .srt or .eaf file of its name" in ran.err) == (2, True)
    published.written(tmp_path / "root" / "a.vtt", one("[Music]"))
    ran = prepare(tmp_path / "root")
    assert (ran.code, "no clip can be read (caption without words" in ran.err) == (2, True)


def test_videos_of_one_name_in_several_folders_stay_apart(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for folder in ("x", "y"):
        published.videos(root / folder, "1")
        published.written(root / folder / "1.en.vtt", one(f"In {folder}."))
    clips, _ = prepared(root)
    assert sorted((clip.id, clip.video.parent.name, clip.text) for clip in clips) == [
        ("x__1_100-900", "x", "In x."),
        ("y__1_100-900", "y", "In y."),
    ]


def test_no_signer_and_no_video_is_in_two_splits(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for number in range(12):
        (root / "v").mkdir(parents=True, exist_ok=True)
        (root / "v" / f"{number}.mp4").write_bytes(bytes(10 + number))
        published.written(
            root / "v" / f"{number}.vtt", vtt([(f"00:0{n}.000", f"00:0{n}.900", f"{n}.") for n in range(3)])
        )
    signers = [f"{number}.mp4\ts{number // 2}" for number in range(12)]
    published.written(root / "videos.tsv", "\n".join(["video\tsigner", *signers]) + "\n")
    clips, _ = prepared(root, "--set", "corpus.dev_share=0.3", "--set", "corpus.test_share=0.3")
    assert len(clips) == 36
    assert {clip.split for clip in clips} == {"train", "dev", "test"}
    assert len({(clip.video, clip.split) for clip in clips}) == 12
    assert len({(clip.signer, clip.split) for clip in clips}) == 6


def test_videos_tsv_states_splits_which_the_same_signer_follows(root: Path) -> None:
    published.written(
        root / "videos.tsv", "video\tsplit\tsigner\na.mp4\tvalidation\tAnna\nb\t\tAnna\nc\tTest\t\nz\t\t\n"
    )
    clips, problems = prepared(root, "--tier", "Text", "--set", "llm.language=de_DE")
    assert {(clip.video.stem, clip.split, clip.signer) for clip in clips} == {
        ("a", "dev", "Anna"),
        ("b", "dev", "Anna"),
        ("c", "test", ""),
    }
    assert problems == {"video of videos.tsv that is not on disk or has no captions": 1, "split without a clip": 1}
    published.written(root / "videos.tsv", "video\tsplit\na.mp4\tvalidating\n")
    ran = prepare(root, "--tier", "Text")
    assert (ran.code, "videos.tsv, line 2: split 'validating' is not one of train, dev, test" in ran.err) == (2, True)


def test_sentences_that_splits_share_are_counted(root: Path) -> None:
    for name in "abc":
        for path in root.glob(f"{name}.*[!4]"):
            path.unlink()
        published.written(root / f"{name}.vtt", one("Guten Tag." if name != "c" else "guten tag"))
    published.written(root / "a.vtt", ROLLING)
    _, problems = prepared(root, "--set", "llm.language=de_DE")
    assert problems["lines of a rolling caption, repeated (merged)"] == 4
    assert sum(problems[kind] for kind in problems if kind.startswith("sentence of several splits")) == 1
