"""How2Sign: tables in every dialect in, clips of full or ready-cut videos out."""

import os
from pathlib import Path

import pytest

from slt_cache.corpora.cuts import BEGINS_PAST_END, PAST_END, READY_CUT
from slt_cache.corpora.how2sign import read_how2sign
from slt_cache.corpora.official import (
    ABSENT,
    BREAK_REPLACED,
    NO_ANNOTATION,
    UNNAMED,
    UNREADABLE_ROW,
)
from slt_cache.errors import InputError
from slt_cache.video.frames import read_kept_frames
from tests.helpers import official
from tests.helpers.commands import slt_cache


@pytest.mark.parametrize("dialect", ["tab", "tab-quoted", "comma"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_dialect_of_how2sign_gives_the_same_sentences(tmp_path: Path, dialect: str, end: str) -> None:
    root = official.full_videos(official.how2sign(tmp_path / "how2sign", dialect, end))
    read = read_how2sign(root)
    assert [clip.text for clip in read.clips] == [row[6] for rows in official.H2S.values() for row in rows]
    assert [clip.split for clip in read.clips] == ["train", "train", "dev", "test"]
    assert read.problems == {}


def test_full_videos_are_cut_and_preferred_to_ready_cut_clips(tmp_path: Path) -> None:
    root = official.ready_cut(official.full_videos(official.how2sign(tmp_path)))
    cut = read_how2sign(root)
    assert [(clip.video.name, clip.start, clip.end) for clip in cut.clips[:2]] == [
        ("-aa-8-rgb_front.mp4", 0.0, 0.4),
        ("-aa-8-rgb_front.mp4", 0.4, 0.8),
    ]
    assert read_how2sign(root, "videos").clips == cut.clips
    ready = read_how2sign(root, "clips")
    assert [(clip.video.name, clip.start, clip.end) for clip in ready.clips[:1]] == [
        ("-aa_0-8-rgb_front.mp4", None, None)
    ]
    assert cut.problems == ready.problems == {}
    assert [len(read_kept_frames(clip, 1).frames) for clip in (cut.clips[0], ready.clips[0])] == [10, 10]


def test_a_ready_cut_clip_stands_in_for_a_missing_video_and_is_said(tmp_path: Path) -> None:
    root = official.ready_cut(official.full_videos(official.how2sign(tmp_path)))
    video = next(root.rglob("bb-8-rgb_front.mp4"))
    video.write_bytes(b"half a download")
    assert read_how2sign(root).problems[READY_CUT] == ["bb_0-8-rgb_front"]
    assert [clip.video.name for clip in read_how2sign(root).clips].count("bb_0-8-rgb_front.mp4") == 1
    video.unlink()
    read = read_how2sign(root)
    assert read.problems == {READY_CUT: ["bb_0-8-rgb_front"]}
    assert read.findings["cut_from_full_videos"] == 3
    assert read_how2sign(root, "videos").problems[ABSENT] == ["bb_0-8-rgb_front"]


def test_missing_clips_and_times_past_the_end_are_listed(tmp_path: Path) -> None:
    root = official.full_videos(official.how2sign(tmp_path))
    train = root / "how2sign_realigned_train.csv"
    for number, (start, end) in enumerate([(0.8, 1.4), (1.2, 1.6), (0.5, 0.5), (0.1, 0.2)], start=2):
        official.append(train, "\t".join(official.h2s_row("-aa" if number < 5 else "zz", number, start, end, "Text.")))
    official.video(root / "other.mp4", 2)
    read = read_how2sign(root)
    assert read.problems == {
        UNREADABLE_ROW: ["how2sign_realigned_train.csv line 6: end 0.5 is not after start 0.5"],
        PAST_END: ["-aa_2-8-rgb_front: ends at 1.4 s of 1.00 s"],
        BEGINS_PAST_END: ["-aa_3-8-rgb_front: begins at 1.2 s of 1.00 s"],
        ABSENT: ["zz_5-8-rgb_front"],
        UNNAMED: ["other"],
    }
    assert len(read.clips) == 5


def test_a_sentence_over_two_lines_is_one_and_a_lone_quote_swallows_none(tmp_path: Path) -> None:
    rows = [official.h2s_row("a", n, n, n + 1, text) for n, text in enumerate(["one\ntwo", "three", "four"])]
    lines = [official.h2s_line(row, "comma") for row in [official.H2S_COLUMNS, *rows]]
    lines.insert(3, ",".join(official.h2s_row("a", 9, 1, 2, '"lone quote')))
    lines.append(",".join(official.h2s_row("a", 10, 1, 2, "comma, without quotes")))
    (tmp_path / "how2sign_realigned_val.csv").write_text("\n".join(lines) + "\n")
    read = read_how2sign(tmp_path)
    assert [clip.text for clip in read.clips] == ["one two", "three", '"lone quote', "four", "comma, without quotes"]
    assert set(read.problems) == {NO_ANNOTATION, BREAK_REPLACED, ABSENT}


def test_a_file_that_is_not_realigned_is_refused(tmp_path: Path) -> None:
    (tmp_path / "how2sign_realigned_val.csv").write_text("VIDEO_ID\tVIDEO_NAME\tSTART\tEND\tSENTENCE\n")
    with pytest.raises(InputError, match="re-aligned"):
        read_how2sign(tmp_path)


def test_linked_folders_that_go_in_circles_end(tmp_path: Path) -> None:
    root = official.full_videos(official.how2sign(tmp_path / "h"))
    (root / "video_level" / "again").symlink_to(root, target_is_directory=True)
    assert len(read_how2sign(root).clips) == 4


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = official.full_videos(official.how2sign(tmp_path))
    scandir = os.scandir

    def refusing(path: str | Path) -> object:
        if Path(path).name == "raw_videos":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match=r"raw_videos: cannot be read \(Permission denied\)"):
        read_how2sign(root)


def test_a_folder_whose_name_is_no_utf8_is_refused(tmp_path: Path) -> None:
    root = official.full_videos(official.how2sign(tmp_path / "how2sign"))
    (root / "video_level").rename(root / os.fsdecode(b"video\xff"))
    ran = slt_cache("prepare", "how2sign", "--root", root, "--run", tmp_path / "run")
    assert ran.code == 2
    assert "not UTF-8" in ran.err
