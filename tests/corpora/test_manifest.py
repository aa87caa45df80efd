"""The manifest: clips out and in again, and every bad line named."""

from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.corpora.base import Clip, of_split
from slt_cache.corpora.manifest import read_manifest, write_manifest
from slt_cache.errors import InputError

HEADER = "id\tsplit\tvideo\tstart\tend\ttext\tsigner"


def write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "manifest.tsv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as refused:
        read_manifest(path)
    return str(refused.value)


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    return Clip("a", "train", tmp_path / "videos" / "a.mp4", None, None, "ein satz")


def test_clips_come_back_as_they_were_written(tmp_path: Path, clip: Clip) -> None:
    clips = [
        clip,
        Clip("-b", "dev", tmp_path / "-10om04.mp4", 137.95, 141.01, 'he said "no', "Signer01"),
        Clip("c 'd'", "test", tmp_path / "frames", 0.0, 0.04, '"quoted" & 今天，下雪。 größer', ""),
    ]
    write_manifest(tmp_path / "manifest.tsv", clips)
    assert read_manifest(tmp_path / "manifest.tsv") == clips


@pytest.mark.parametrize(("start", "end"), [(12345.678, 12350.25), (0.1234567, 3.0), (1e-7, 2e6 + 1 / 3)])
def test_times_lose_no_digit(tmp_path: Path, clip: Clip, start: float, end: float) -> None:
    write_manifest(tmp_path / "manifest.tsv", [replace(clip, start=start, end=end)])
    [read] = read_manifest(tmp_path / "manifest.tsv")
    assert (read.start, read.end) == (start, end)


@pytest.mark.parametrize("character", ["\u2028", "\u0085", "\x0c", "\x1c"])
def test_only_a_line_feed_ends_a_line(tmp_path: Path, clip: Clip, character: str) -> None:
    clips = [replace(clip, text=f"one{character}two")]
    write_manifest(tmp_path / "manifest.tsv", clips)
    assert read_manifest(tmp_path / "manifest.tsv") == clips


def test_an_absolute_video_path_is_kept_where_the_manifest_moves_to(tmp_path: Path, clip: Clip) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "videos").mkdir()
    clip.video.touch()
    write_manifest(tmp_path / "run" / "manifest.tsv", [clip])
    assert "../videos/a.mp4" in (tmp_path / "run" / "manifest.tsv").read_text()
    [read] = read_manifest(tmp_path / "run" / "manifest.tsv")
    assert read.video.samefile(clip.video)


def test_videos_are_found_from_a_folder_behind_a_link(tmp_path: Path, clip: Clip) -> None:
    """The system takes `..` from where a link leads to."""
    (tmp_path / "disk" / "far" / "home").mkdir(parents=True)
    (tmp_path / "home").symlink_to(tmp_path / "disk" / "far" / "home")
    (tmp_path / "data").mkdir()
    (tmp_path / "home" / "run").mkdir()
    videos = [tmp_path / "data" / "a.mp4", tmp_path / "home" / "run" / "b.mp4", tmp_path / "home" / "c.mp4"]
    for video in videos:
        video.touch()
    path = tmp_path / "home" / "run" / "manifest.tsv"
    write_manifest(path, [replace(clip, id=video.stem, video=video) for video in videos])
    assert "\tb.mp4\t" in path.read_text(encoding="utf-8")
    assert [one.video.is_file() for one in read_manifest(path)] == [True] * 3


def test_the_signer_may_be_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "a\ttrain\ta.mp4\t\t\tein satz", header="id\tsplit\tvideo\tstart\tend\ttext")
    assert read_manifest(path) == [Clip("a", "train", tmp_path / "a.mp4", None, None, "ein satz", "")]


def test_the_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path, "ein satz\ta.mp4\ta\ttrain\t1\t2", header="text\tvideo\tid\tsplit\tstart\tend")
    assert read_manifest(path) == [Clip("a", "train", tmp_path / "a.mp4", 1.0, 2.0, "ein satz", "")]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "manifest.tsv"
    lines = [HEADER, "ä\ttrain\ta.mp4\t\t\tschön\ts1", ""]
    path.write_bytes(b"\xef\xbb\xbf" + ending.join(lines).encode())
    assert read_manifest(path) == [Clip("ä", "train", tmp_path / "a.mp4", None, None, "schön", "s1")]


BAD_LINES = [
    ("\ttrain\tv\t\t\tt\t", "id is empty"),
    ("a\tval\tv\t\t\tt\t", "'val' is not one of train, dev, test"),
    ("a\ttrain\t\t\t\tt\t", "video is empty"),
    ("a\ttrain\tv\tsoon\t\tt\t", "start 'soon' is not a number"),
    ("a\ttrain\tv\t-1\t\tt\t", "start '-1' is not a time"),
    ("a\ttrain\tv\t\tinf\tt\t", "end 'inf' is not a time"),
    ("a\ttrain\tv\tnan\t\tt\t", "start 'nan' is not a time"),
    ("a\ttrain\tv\t3\t3\tt\t", "end 3.0 is not after start 3.0"),
    ("a\ttrain\tv\t\t\t  \t", "text is empty"),
    ("good\ttrain\tv\t\t\tt\t", "'good' is already on line 2"),
]


@pytest.mark.parametrize(("line", "says"), BAD_LINES)
def test_a_bad_line_is_refused_with_its_number_and_the_reason(tmp_path: Path, line: str, says: str) -> None:
    message = refusal(write(tmp_path, "good\ttrain\tv\t\t\tt\t", "", line))
    assert f"line 4: {says}" in message or ("line 4:" in message and says in message)
    assert "manifest.tsv" in message


@pytest.mark.parametrize("line", ["a\ttrain\tv\t\t", "a\ttrain\tv\t\t\tone\ttwo\tthree"])
def test_a_line_with_too_few_or_too_many_columns_is_refused_in_plain_words(tmp_path: Path, line: str) -> None:
    message = refusal(write(tmp_path, line))
    assert "line 2:" in message
    assert str(line.count("\t") + 1) in message.partition("line 2:")[2]
    assert "zip()" not in message


def test_all_bad_lines_are_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "good\ttrain\tv\t\t\tt\t", *(line for line, _ in BAD_LINES))
    message = refusal(path)
    assert f"{len(BAD_LINES)} bad lines" in message
    for number, (_, says) in enumerate(BAD_LINES, start=3):
        assert f"line {number}:" in message
        assert says in message


def test_of_very_many_bad_lines_the_first_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, *(f"{number}\tval\tv\t\t\tt\t" for number in range(25))))
    assert "25 bad lines" in message
    assert "line 11:" in message
    assert "line 12:" not in message
    assert "15 more" in message


@pytest.mark.parametrize(
    ("header", "lacks"), [("id\tsplit\tvideo\tstart\tend", "text"), ("id,split", "video"), ("", "id")]
)
def test_a_header_without_a_column_is_refused_with_its_name(tmp_path: Path, header: str, lacks: str) -> None:
    message = refusal(write(tmp_path, header=header))
    assert "header lacks" in message
    assert lacks in message


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.tsv"
    path.touch()
    assert "header lacks id" in refusal(path)


def test_a_manifest_without_clips_is_refused(tmp_path: Path) -> None:
    assert "no clips" in refusal(write(tmp_path))


def test_a_missing_manifest_is_refused_with_what_to_do(tmp_path: Path) -> None:
    message = refusal(tmp_path / "none.tsv")
    assert "none.tsv: there is no such manifest" in message
    assert "prepare" in message


def test_a_manifest_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.tsv"
    path.write_bytes(f"{HEADER}\na\ttrain\tv\t\t\tschön\t\n".encode("latin-1"))
    message = refusal(path)
    assert "not UTF-8" in message
    assert "manifest.tsv" in message


@pytest.mark.parametrize("text", ["ein\tsatz", "ein\nsatz", "ein\rsatz"])
def test_a_tab_or_a_line_break_in_a_text_is_refused_at_writing(tmp_path: Path, clip: Clip, text: str) -> None:
    path = tmp_path / "manifest.tsv"
    path.write_text("old")
    with pytest.raises(InputError, match="clip 'a'"):
        write_manifest(path, [replace(clip, text=text)])
    assert path.read_text() == "old"


def test_the_clips_of_a_split_keep_the_order_of_the_manifest(clip: Clip) -> None:
    clips = [replace(clip, id=name, split=split) for name, split in [("z", "dev"), ("a", "train"), ("b", "dev")]]
    assert [one.id for one in of_split(clips, "dev")] == ["z", "b"]
    assert of_split(clips, "test") == []


def test_a_box_is_read_and_written_and_without_one_there_is_no_column(tmp_path: Path) -> None:
    clips = [
        Clip("a", "train", tmp_path / "a.mp4", 0.5, 1.0, "eins", box=(0.25, 0.0, 0.75, 1.0)),
        Clip("b", "dev", tmp_path / "b.mp4", None, None, "zwei"),
    ]
    write_manifest(tmp_path / "manifest.tsv", clips)
    assert (tmp_path / "manifest.tsv").read_text(encoding="utf-8").splitlines() == [
        "id\tsplit\tvideo\tstart\tend\ttext\tsigner\tbox",
        "a\ttrain\ta.mp4\t0.5\t1.0\teins\t\t0.25,0.0,0.75,1.0",
        "b\tdev\tb.mp4\t\t\tzwei\t\t",
    ]
    assert read_manifest(tmp_path / "manifest.tsv") == clips
    write_manifest(tmp_path / "manifest.tsv", clips[1:])
    assert (
        (tmp_path / "manifest.tsv")
        .read_text(encoding="utf-8")
        .startswith("id\tsplit\tvideo\tstart\tend\ttext\tsigner\n")
    )


@pytest.mark.parametrize("box", ["0.5,0,0.25,1", "0,0,1", "0,0,640,480", "nan,0,1,1", "links"])
def test_a_box_that_is_no_part_of_a_frame_is_refused(tmp_path: Path, box: str) -> None:
    table = f"id\tsplit\tvideo\tstart\tend\ttext\tbox\na\ttrain\ta.mp4\t\t\teins\t{box}\n"
    (tmp_path / "manifest.tsv").write_text(table, encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2: box '"):
        read_manifest(tmp_path / "manifest.tsv")
