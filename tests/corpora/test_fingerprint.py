"""What a video is known by: its content, wherever it lies and whatever its name is."""

import zlib
from dataclasses import replace
from pathlib import Path

from slt_cache.corpora.base import Clip
from slt_cache.corpora.fingerprint import ENDS, fingerprint, manifest_sha256, sources


def test_a_fingerprint_goes_by_content_and_not_by_name_or_time(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mp4", tmp_path / "other" / "b.mp4"
    second.parent.mkdir()
    first.write_bytes(b"x" * 3 * ENDS)
    second.write_bytes(b"x" * 3 * ENDS)
    crc = zlib.crc32(b"x" * ENDS)
    assert fingerprint(first) == fingerprint(second) == f"{3 * ENDS}-{crc:08x}-{crc:08x}"
    for place in (0, 3 * ENDS - 1):
        data = bytearray(b"x" * 3 * ENDS)
        data[place] = 0
        second.write_bytes(data)
        assert fingerprint(first) != fingerprint(second)
    assert fingerprint(tmp_path / "none.mp4") is None


def test_a_folder_of_frames_is_known_by_its_frames_in_their_order(tmp_path: Path) -> None:
    (folder := tmp_path / "frames").mkdir()
    for number, size in enumerate((10, 20, 30)):
        (folder / f"{number}.png").write_bytes(b"x" * size)
    before = fingerprint(folder)
    (folder / ".DS_Store").write_bytes(b"finder")
    assert fingerprint(folder) == before == fingerprint(folder.rename(tmp_path / "renamed"))
    folder = tmp_path / "renamed"
    (folder / "0.png").write_bytes(b"x" * 20)
    (folder / "1.png").write_bytes(b"x" * 10)
    assert fingerprint(folder) != before
    (folder / "1.png").unlink()
    assert fingerprint(folder) != before


def test_clips_of_one_video_differ_in_their_times(tmp_path: Path) -> None:
    video = tmp_path / "long.mp4"
    video.write_bytes(b"film")
    clips = [Clip(name, "train", video, start, end, "satz") for name, start, end in (("a", 0.0, 1.0), ("b", 1, None))]
    [first, second] = sources(clips)
    assert (first.split()[1:], second.split()[1:]) == (["0.0", "1.0"], ["1.0", "-"])
    assert first.split()[0] == second.split()[0]


def test_clips_of_one_video_differ_in_their_boxes_and_without_one_nothing_is_added(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    whole = Clip("a", "train", tmp_path / "a.mp4", 0.5, None, "t")
    part = replace(whole, box=(0.25, 0.0, 0.75, 1.0))
    assert [source.partition(" ")[2] for source in sources([whole, part])] == ["0.5 -", "0.5 - 0.25,0.0,0.75,1.0"]
    assert manifest_sha256([whole]) != manifest_sha256([part])
