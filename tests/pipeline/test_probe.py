"""Videos are opened before hours are spent on them: every bad clip is found, whatever the others are."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slt_cache.corpora.base import Clip
from slt_cache.pipeline import probe as probing
from slt_cache.pipeline.probe import probe
from slt_cache.pipeline.run_corpus import Probe
from slt_cache.video import probing as one_video
from slt_cache.video.decode import VideoFile
from slt_cache.video.stream import VideoError

MakeVideo = Callable[..., Path]


def clip(video: Path, start: float | None = None, end: float | None = None, name: str | None = None) -> Clip:
    return Clip(name or video.stem, "train", video, start, end, "ein satz")


def frames(folder: Path, many: int = 3) -> Path:
    folder.mkdir()
    for number in range(many):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / f"images{number}.png")
    return folder


def reasons(found: Probe) -> dict[str, str]:
    return {bad.clip.id: bad.reason for bad in found.bad}


def test_every_bad_clip_is_found_with_its_reason(tmp_path: Path, make_video: MakeVideo) -> None:
    good = make_video(tmp_path / "good.mp4", 50)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:-2000])
    broken = frames(tmp_path / "broken")
    (broken / "images2.png").write_bytes((broken / "images2.png").read_bytes()[:30])
    hollow = frames(tmp_path / "hollow")
    (hollow / "images1.png").write_bytes(b"")
    (tmp_path / "nothing").mkdir()
    clips = [
        clip(good),
        clip(good, 0.4, 1.0, "inside"),
        clip(good, 3.0, 4.0, "outside"),
        *(clip(tmp_path / name) for name in ("empty.mp4", "text.mp4", "cut.mp4", "absent.mp4")),
        *(clip(folder) for folder in (frames(tmp_path / "frames"), broken, hollow, tmp_path / "nothing")),
        clip(tmp_path / "frames", 0.0, 1.0, "cut of frames"),
    ]
    found = reasons(probe(tmp_path / "run", clips))
    expected = {"outside", "empty", "text", "cut", "absent", "broken", "hollow", "nothing", "cut of frames"}
    assert set(found) == expected
    assert "no frame lies between 3.0 s and 4.0 s of its 2.00 s" in found["outside"]
    assert "images1.png is an empty file" in found["hollow"]
    assert "no such file" in found["absent"]
    assert list(found) == [one.id for one in clips if one.id in expected]


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "webp"])
def test_a_frame_that_is_cut_off_is_found_wherever_it_lies_in_its_folder(tmp_path: Path, kind: str) -> None:
    (folder := tmp_path / "frames").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (9, 64, 48, 3), np.uint8)
    for number, picture in enumerate(noise):
        Image.fromarray(picture).save(folder / f"{number}.{kind}")
    assert not probe(tmp_path / "first", [clip(folder)]).bad
    with (folder / f"2.{kind}").open("ab") as file:
        file.write(b"a few bytes more")  # as some writers leave; it can be read
    assert not probe(tmp_path / "second", [clip(folder)]).bad
    (broken := folder / f"4.{kind}").write_bytes(broken.read_bytes()[:-1500])
    assert f"frame 4.{kind} is broken" in reasons(probe(tmp_path / "third", [clip(folder)]))["frames"]
    broken.unlink()
    broken.mkdir()
    assert f"frame 4.{kind} cannot be read" in reasons(probe(tmp_path / "third", [clip(folder)]))["frames"]


def test_a_cut_that_ends_after_its_video_is_named_and_can_be_read(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "two.mp4", 50)
    ends = {"to the end": 2.0, "rounded up": 2.08, "past the end": 2.5}
    found = probe(tmp_path / "run", [clip(video, 0.5, end, name) for name, end in ends.items()])
    assert not found.bad
    assert [(one.clip.id, one.reason) for one in found.past_end] == [
        ("past the end", "ends at 2.5 s, but the video at 2.00 s")
    ]


def test_what_was_good_is_not_opened_again_until_it_changes(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = [make_video(tmp_path / f"{name}.mp4", 30) for name in "abc"]
    clips = [clip(videos[0], 0.0, 9.0, "long"), *map(clip, videos)]
    first = probe(tmp_path / "run", clips)
    assert [one.clip.id for one in first.past_end] == ["long"]
    asked: list[Path] = []
    real = probing._probed

    def seen(jobs: Sequence[Any]) -> Any:
        asked.extend(job.video for job in jobs)
        return real(jobs)

    monkeypatch.setattr(probing, "_probed", seen)
    assert probe(tmp_path / "run", clips) == first
    assert asked == []
    videos[1].write_bytes(b"")
    assert set(reasons(probe(tmp_path / "run", clips))) == {"b"}
    assert asked == [videos[1]]
    probe(tmp_path / "run", clips)
    assert asked == [videos[1], videos[1]]  # a bad one is opened until it is repaired
    probe(tmp_path / "run", [*clips, clip(videos[2], 0.2, 0.4, "another cut")])
    assert asked[2:] == [videos[1], videos[2]]


def test_the_frames_of_each_clip_are_counted_before_the_keep_rate(tmp_path: Path, make_video: MakeVideo) -> None:
    video, folder = make_video(tmp_path / "a.mp4", 50), frames(tmp_path / "frames", 7)
    clips = [clip(video), clip(video, 0.4, 1.0, "cut"), clip(folder)]
    for _ in range(2):  # the second time from memory
        assert probe(tmp_path / "run", clips).num_frames == {"a": 50, "cut": 15, "frames": 7}
    assert probe(tmp_path / "run", clips[:2], fps=12.5).num_frames == {"a": 25, "cut": 8}


def test_folders_of_frames_are_opened_again_when_a_rate_is_asked_for(tmp_path: Path) -> None:
    folder = clip(frames(tmp_path / "frames"))
    assert not probe(tmp_path / "run", [folder]).bad
    assert "no frame rate" in reasons(probe(tmp_path / "run", [folder], fps=25.0))["frames"]


@pytest.mark.parametrize(
    "held", ["", "[]", '{"fps": 0.0, "videos": {"x": 3}}', '{"fps": 0.0, "videos": [1]}', "\udcff"]
)
def test_a_damaged_memory_costs_only_the_time_to_look_again(tmp_path: Path, make_video: MakeVideo, held: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "probed.json").write_bytes(held.encode(errors="surrogateescape"))
    video = make_video(tmp_path / "a.mp4", 10)
    assert not probe(tmp_path / "run", [clip(video)]).bad
    assert str(video) in json.loads((tmp_path / "run" / "probed.json").read_text())["videos"]


def dies_of_some(video: Path) -> VideoFile:
    if video.name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGKILL)
    return VideoFile(video)


def test_a_file_that_kills_the_decoder_costs_only_itself(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_video, "VideoFile", dies_of_some)
    names = ["a", "crash1", "b", "c", "crash2", "d", "e", "f"]
    clips = [clip(make_video(tmp_path / f"{name}.mp4", 10)) for name in names]
    found = reasons(probe(tmp_path / "run", clips))
    assert list(found) == ["crash1", "crash2"]


def test_an_undecodable_first_frame_is_that_clips_fault_alone(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(tmp_path / "a.mp4", 50)
    clips = [clip(video, 1.0, 1.5, "later"), clip(video, 0.0, 0.5, "first")]

    class Broken(VideoFile):
        def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
            if indices[0] == 0:
                raise VideoError("its frame 0 cannot be decoded")
            return super().read(indices)

    monkeypatch.setattr(one_video, "VideoFile", Broken)
    assert reasons(probe(tmp_path / "run", clips)) == {"first": "its frame 0 cannot be decoded"}


def test_what_an_interrupted_look_has_opened_is_kept(
    tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [clip(make_video(tmp_path / f"{name}.mp4", 10)) for name in "abcd"]
    real = probing._probed

    def interrupted(jobs: Sequence[Any]) -> Iterator[Any]:
        yield next(iter(real(jobs)))
        raise KeyboardInterrupt

    monkeypatch.setattr(probing, "_probed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        probe(tmp_path / "run", clips)
    assert len(json.loads((tmp_path / "run" / "probed.json").read_text())["videos"]) == 1


def test_no_clips_are_no_work(tmp_path: Path) -> None:
    assert probe(tmp_path, []) == Probe((), (), {}, {})
    assert not (tmp_path / "probed.json").exists()


@pytest.mark.slow
def test_a_thousand_videos_are_opened_within_seconds(tmp_path: Path, make_video: MakeVideo) -> None:
    video = make_video(tmp_path / "a.mp4", 100)
    clips = []
    for number in range(1000):
        (copy := tmp_path / f"{number}.mp4").write_bytes(video.read_bytes())
        clips.append(replace(clip(copy), id=str(number)))
    begun = time.monotonic()
    assert not probe(tmp_path / "run", clips).bad
    first, begun = time.monotonic() - begun, time.monotonic()
    assert not probe(tmp_path / "run", clips).bad
    print(f"{first:.2f} s, then {time.monotonic() - begun:.3f} s")
    assert first < 60
    assert time.monotonic() - begun < 1


def test_what_a_user_should_know_of_videos_is_said_once_for_all_of_them(
    tmp_path: Path, make_video: MakeVideo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = {"a": ("it is in HDR (PQ)",), "b": ("it is in HDR (PQ)",), "c": ()}
    videos = [make_video(tmp_path / f"{name}.mp4", 10) for name in notes]
    monkeypatch.setattr(VideoFile, "notes", property(lambda file: notes[file.path.stem]))
    clips = [clip(video, start, None, f"{video.stem} {start}") for video in videos for start in (0.0, 0.2)]
    probe(tmp_path / "run", clips)
    assert [line for line in capsys.readouterr().err.splitlines() if "HDR" in line] == [
        "'a.mp4', 'b.mp4': it is in HDR (PQ)."
    ]
