"""Videos of one's own through a trained run: many at once, windows of long ones, and what cannot be read."""

import csv
import faulthandler
import html
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from slt_cache.corpora.base import Clip
from slt_cache.corpora.cues import read_cues
from slt_cache.errors import InputError, SltCacheError
from slt_cache.pipeline.translate import Translation, Translator, Untranslated
from slt_cache.video import subprocess
from slt_cache.video.frames import open_frames
from slt_cache.video.paths import find_videos
from slt_cache.video.stream import UnreadableVideo
from slt_cache.video.windows import borders, windows
from tests.helpers.commands import slt_cache
from tests.helpers.joined import frames_of, joined
from tests.helpers.tiny_run import succeed, train_tiny
from tests.helpers.videos import Coding, encode, x264


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(
        tmp_path_factory.mktemp("translate") / "tiny", "generation.batch_size=2", "visual_training.epochs=1"
    )


@pytest.fixture(scope="module")
def translator(run: Path) -> Translator:
    return Translator.from_run(run, device="cpu")


@pytest.fixture
def clips(run: Path) -> list[Path]:
    return sorted((run / "corpus" / "videos").glob("*.mp4"))[:5]


def as_frames(video: Path, folder: Path) -> Path:
    """The same pictures as a folder of png files."""
    from PIL import Image

    folder.mkdir(parents=True)
    pieces = open_frames(Clip("all", "test", video, None, None, ""), 1).chunks
    for number, frame in enumerate(np.concatenate(list(pieces))):
        Image.fromarray(frame).save(folder / f"images{number}.png")
    return folder


def test_many_videos_are_translated_as_each_alone_and_in_their_order(translator: Translator, clips: list[Path]) -> None:
    together = list(translator.translate(clips, nbest=3))
    assert [one.video for one in together] == clips
    for one, clip in zip(together, clips, strict=True):
        assert isinstance(one, Translation)
        alone = translator(clip, nbest=3)
        assert one.texts == alone.texts
        assert one.scores == pytest.approx(alone.scores, abs=1e-4)
        assert one.frames == alone.frames > 20
    assert len({one.scores for one in together if isinstance(one, Translation)}) == len(clips)


def test_a_folder_of_frames_says_what_its_video_says(translator: Translator, clips: list[Path], tmp_path: Path) -> None:
    frames = translator(as_frames(clips[0], tmp_path / "frames"))
    assert frames.scores == pytest.approx(translator(clips[0]).scores, abs=1e-3)


@pytest.mark.parametrize("rate", [10, 24, 50])
@pytest.mark.parametrize("size", [(48, 64), (350, 202)], ids=["small", "odd-portrait"])
def test_any_rate_and_size_is_translated(
    translator: Translator, tmp_path: Path, rate: int, size: tuple[int, int]
) -> None:
    def draw(number: int) -> np.ndarray:
        return np.full((*size, 3), 5 * number % 256, np.uint8)

    video = encode(tmp_path / "any.mp4", Coding("any.mp4", x264("keyint=12")), 30, draw, rate)
    assert translator(video).frames == 30


def test_bad_files_are_named_at_the_end_and_the_others_translated(run: Path, clips: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    arguments = ("translate", "--run", run, clips[0], bad, clips[1], tmp_path / "nowhere.mp4", clips[2])
    ran = slt_cache(*arguments)
    assert ran.code == 1
    assert [line.split("\t")[0] for line in ran.out.splitlines()] == [str(clip) for clip in clips[:3]]
    *reasons, last = ran.err.splitlines()[-3:]
    assert reasons[0].startswith(f"failed\t{bad}\tit cannot be read")
    assert reasons[1] == f"failed\t{tmp_path / 'nowhere.mp4'}\tthere is no such file or folder"
    assert last == "error: 2 of 5 could not be translated; see the reasons above."
    assert "Traceback" not in ran.err
    answer = json.loads(slt_cache(*arguments, "--json").out)
    assert [one["video"] for one in answer["translations"]] == [str(clip) for clip in clips[:3]]
    assert [one["video"] for one in answer["failed"]] == [str(bad), str(tmp_path / "nowhere.mp4")]


def test_what_is_translated_is_printed_even_if_the_command_fails_later(
    run: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Translator.translate

    def failing(self: Translator, *arguments: object, **options: object) -> Iterator[object]:
        yield next(iter(whole(self, *arguments, **options)))  # type: ignore[call-overload]
        raise SltCacheError("out of memory")

    monkeypatch.setattr(Translator, "translate", failing)
    ran = slt_cache("translate", "--run", run, *clips, "--json")
    assert ran.code == 1 and "out of memory" in ran.err
    assert [one["video"] for one in json.loads(ran.out)["translations"]] == [str(clips[0])]


def test_one_bad_file_alone_is_bad_input_in_one_line(run: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    ran = slt_cache("translate", "--run", run, bad)
    assert ran.code == 2
    assert ran.err.startswith(f"error: {bad}: it cannot be read")
    assert len(ran.err.splitlines()) == 1
    assert slt_cache("translate", "--run", run, bad, bad).code == 2
    with pytest.raises(InputError, match="Give a video file"):
        Translator.from_run(run)(bad)


def test_a_name_that_begins_with_a_hyphen_goes_behind_two(
    run: Path, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(clips[0], tmp_path / "-x.mp4")
    monkeypatch.chdir(tmp_path)
    assert slt_cache("translate", "--run", run, "-x.mp4").code == 2
    assert succeed("translate", "--run", run, "--", "-x.mp4").out.startswith("-x.mp4\t")


def test_the_table_has_a_line_for_each_sentence_and_nothing_else(run: Path, clips: list[Path], tmp_path: Path) -> None:
    tabbed = Path(shutil.copy(clips[0], tmp_path / "a\tb.mp4"))
    ran = succeed("translate", "--run", run, tabbed, clips[1], "--nbest", "2", "--tsv")
    rows = list(csv.DictReader(ran.out.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert list(rows[0]) == ["video", "start", "end", "rank", "text", "score", "seconds"]
    assert [row["rank"] for row in rows] == ["1", "2", "1", "2"]
    assert rows[0]["video"].endswith("a b.mp4")
    assert float(rows[0]["score"]) >= float(rows[1]["score"])
    ran = slt_cache("translate", "--run", run, clips[1], "--tsv", "--json")
    assert ran.code == 2
    assert "Choose one" in ran.err


def test_windows_hold_every_frame_once(make_video: Callable[..., Path], tmp_path: Path) -> None:
    for frames, window, starts in ((60, 1.0, [0, 1]), (70, 1.0, [0, 1, 2]), (20, 1.0, [0]), (100, 1.0, [0, 1, 2, 3])):
        video = make_video(tmp_path / f"{frames}.mp4", frames)
        parts = windows(Clip("v", "test", video, None, None, ""), window)
        assert [part.start for part in parts] == starts
        assert sum(open_frames(part, 1).num_frames for part in parts) == frames


def test_a_remainder_under_half_a_window_belongs_to_the_window_before() -> None:
    assert borders(10.0, 4.0) == [0, 4, 8]
    assert borders(9.9, 4.0) == [0, 4]
    assert borders(1.0, 4.0) == [0]
    assert borders(8.0, 4.0) == [0, 4]


def test_windows_are_translated_as_the_same_cut_alone(translator: Translator, clips: list[Path], run: Path) -> None:
    parts = [one for one in translator.translate([clips[0]], window=0.5) if isinstance(one, Translation)]
    assert len(parts) >= 2
    assert parts[0].start == 0.0
    assert parts[0].end == parts[1].start == 0.5
    last = parts[-1]
    assert last.start is not None and last.end == pytest.approx(last.start + last.frames / 25)
    ran = succeed("translate", "--run", run, clips[0], "--window", "0.5")
    assert ran.out.splitlines()[0].startswith(
        f"{clips[0]}\t0.0 to 0.5 s\t{parts[0].text or '(an empty sentence)'}\t(score "
    )
    assert f" to {parts[-1].end:.1f} s\t" in ran.out.splitlines()[-1]
    table = succeed("translate", "--run", run, clips[0], "--window", "0.5", "--tsv").out.splitlines()
    assert table[-1].split("\t")[2] == f"{parts[-1].end:.3f}"
    assert json.loads(succeed("translate", "--run", run, clips[0], "--window", "0.5", "--json").out)["translations"][1][
        "start"
    ] == pytest.approx(0.5)


def test_windows_of_what_has_no_rate_are_refused_and_the_others_translated(
    run: Path, translator: Translator, clips: list[Path], tmp_path: Path
) -> None:
    folder = as_frames(clips[0], tmp_path / "frames")
    with pytest.raises(UnreadableVideo, match="no frame rate"):
        windows(Clip("v", "test", folder, None, None, ""), 1.0)
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    found = list(translator.translate([folder, clips[1], bad], window=100.0))
    assert isinstance(found[0], Untranslated)
    assert "no frame rate" in found[0].reason
    assert isinstance(found[1], Translation)
    assert isinstance(found[2], Untranslated)
    assert found[2].reason.startswith("it cannot be read")
    assert found[2].text is None
    ran = slt_cache("translate", "--run", run, folder, "--window", "1")
    assert ran.code == 2
    assert "no frame rate" in ran.err


@pytest.mark.skipif(subprocess.METHOD != "fork", reason="what a test puts in place is known to forked processes alone")
def test_what_kills_or_hangs_the_cut_into_windows_costs_itself_alone(
    translator: Translator, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(clip: Clip, window: float) -> list[Clip]:
        if clip.video == clips[0]:
            faulthandler.disable()  # pytest's, which would tell of it
            os.kill(os.getpid(), signal.SIGSEGV)
        if clip.video == clips[2]:
            time.sleep(1000)
        return windows(clip, window)

    plain = list(translator.translate([clips[1]], window=0.5))
    monkeypatch.setattr(translator, "workers", 1)
    monkeypatch.setattr("slt_cache.decoding.parts.windows", cut)
    monkeypatch.setattr(subprocess, "PATIENCE", 2)
    killed, *parts, hung, folder = translator.translate([*clips[:3], clips[0].parent], window=0.5)
    assert isinstance(killed, Untranslated) and killed.reason == "the decoder crashed on it twice (SIGSEGV)"
    assert isinstance(hung, Untranslated) and hung.reason == "the decoder gave no answer in 2 seconds"
    assert isinstance(folder, Untranslated) and "no frame rate" in folder.reason
    assert [(one.start, one.text) for one in parts] == [(one.start, one.text) for one in plain]


@pytest.fixture(scope="module")
def long(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], list[tuple[float, float]]]:
    """A video of ten clips with pauses of held frames, the clips, and their times."""
    clips = sorted((run / "corpus" / "videos").glob("*.mp4"))[:10]
    path = tmp_path_factory.mktemp("long") / "long.mkv"
    return path, clips, joined(path, [frames_of(clip) for clip in clips], pause=20)


def test_a_long_video_is_cut_at_its_pauses_into_the_sentences_of_its_clips(
    run: Path, translator: Translator, long: tuple[Path, list[Path], list[tuple[float, float]]], tmp_path: Path
) -> None:
    path, clips, times = long
    alone = list(translator.translate(clips))
    outputs = ("--srt", tmp_path / "out.srt", "--vtt", tmp_path / "subtitles" / "out.vtt")
    ran = succeed("translate", "--run", run, path, "--segment", "auto", *outputs, "--json")
    found = json.loads(ran.out)["translations"]
    assert [(one["start"], one["end"]) for one in found] == [pytest.approx(time, abs=0.3) for time in times]
    assert [one["text"] for one in found] == [one.text for one in alone]
    scores = [one.scores[0] for one in alone if isinstance(one, Translation)]
    assert [one["nbest"][0]["score"] for one in found] == pytest.approx(scores, abs=0.05)
    for written in (tmp_path / "out.srt", tmp_path / "subtitles" / "out.vtt"):
        cues = read_cues(written, None, {})
        assert [(cue.start, cue.end) for cue in cues] == [
            pytest.approx((one["start"], one["end"]), abs=0.001) for one in found
        ]
        assert [html.unescape(cue.text) for cue in cues] == [one["text"] for one in found]


def test_windows_and_whole_videos_become_subtitles_too(run: Path, clips: list[Path], tmp_path: Path) -> None:
    succeed("translate", "--run", run, *clips[:2], "--window", "0.5", "--srt", tmp_path / "windows")
    assert sorted(path.stem for path in (tmp_path / "windows").iterdir()) == sorted(clip.stem for clip in clips[:2])
    cues = read_cues(tmp_path / "windows" / f"{clips[0].stem}.srt", None, {})
    assert len(cues) >= 2 and [cue.start for cue in cues[:2]] == [0.0, 0.5]
    ran = succeed("translate", "--run", run, clips[0], "--vtt", tmp_path / "a.vtt", "--json")
    [one] = json.loads(ran.out)["translations"]
    [cue] = read_cues(tmp_path / "a.vtt", None, {})
    assert (cue.start, cue.end) == (0.0, one["frames"] / 25)


def test_a_video_without_movement_has_no_segment_and_the_others_are_translated(
    run: Path, translator: Translator, clips: list[Path], tmp_path: Path
) -> None:
    still, pictures = tmp_path / "still.mkv", as_frames(clips[0], tmp_path / "frames")
    joined(still, [frames_of(clips[0])[:1]], pause=50)
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    found = list(translator.translate([still, clips[1], pictures, bad], segment="auto"))
    assert [one.text is None for one in found] == [True, False, True, True]
    reasons = [one.reason for one in found if isinstance(one, Untranslated)]
    assert reasons[0].startswith("nothing moves in it")
    assert "no frame rate" in reasons[1] and reasons[2].startswith("it cannot be read")
    ran = slt_cache("translate", "--run", run, still, "--segment", "auto", "--srt", tmp_path / "a.srt")
    assert ran.code == 2 and "nothing moves in it" in ran.err and not (tmp_path / "a.srt").exists()


def test_a_box_of_the_frames_is_translated_like_frames_that_were_cropped_before(
    run: Path, translator: Translator, clips: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = frames_of(clips[0])
    for name, part in (("whole", frames), ("part", frames[:, 16:112, 32:96])):
        joined(tmp_path / f"{name}.mkv", [part], 0)
    [boxed] = translator.translate([tmp_path / "whole.mkv"], box=(0.25, 0.125, 0.75, 0.875))
    cropped, whole = translator(tmp_path / "part.mkv"), translator(tmp_path / "whole.mkv")
    assert isinstance(boxed, Translation)
    assert boxed.scores == cropped.scores != whole.scores
    ran = succeed("translate", "--run", run, tmp_path / "whole.mkv", "--box", "0.25,0.125,0.75,0.875", "--json")
    assert json.loads(ran.out)["translations"][0]["nbest"][0]["score"] == pytest.approx(cropped.scores[0], abs=1e-4)
    assert slt_cache("translate", "--run", run, clips[0], "--box", "0.5,0,0.2,1").code == 2
    translator._is_boxed = True  # as of a model that was trained on cropped frames
    capsys.readouterr()
    list(translator.translate([clips[0]], box=(0, 0, 1, 1)))
    assert not capsys.readouterr().err
    list(translator.translate(clips[:2]))
    assert capsys.readouterr().err.count("cropped to the signer's box; these are read whole. Give the") == 1


def test_segments_longer_than_the_window_are_split(
    translator: Translator, long: tuple[Path, list[Path], list[tuple[float, float]]]
) -> None:
    path, _, times = long
    found = list(translator.translate([path], segment="motion", window=1.0))
    assert len(found) > len(times)
    assert {round(start, 2) for start, _ in times[1:]} <= {round(one.start or 0.0, 2) for one in found}
    assert max((one.end or 0.0) - (one.start or 0.0) for one in found) < 1.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--segment", "silence"), "--segment silence: unknown. Use one of auto, motion, pose."),
        (("--segment", "auto", "--pause", "0"), "at least 0.1 seconds"),
        (("--pause", "1"), "Give it with --segment auto"),
        (("--segment", "pose", "--set", "encoder.python=/nowhere/python"), "mediapipe=="),
    ],
)
def test_segments_that_cannot_be_found_are_refused(
    run: Path, clips: list[Path], words: tuple[str, ...], said: str
) -> None:
    ran = slt_cache("translate", "--run", run, clips[0], *words)
    assert ran.code == 2 and said in ran.err and len(ran.err.splitlines()) <= 2


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
def test_a_window_of_no_length_is_refused(run: Path, clips: list[Path], seconds: str) -> None:
    ran = slt_cache("translate", "--run", run, clips[0], "--window", seconds)
    assert ran.code == 2
    assert "at least 0.1 seconds" in ran.err


def test_folders_are_searched_for_videos_and_folders_of_frames(tmp_path: Path) -> None:
    for name in ("b.MP4", "a.mkv", "cover.jpg", "notes.txt", ".hidden.mp4", "sub/c.webm", "sub/deep/1.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = [str(path.relative_to(tmp_path)) for path in find_videos([tmp_path])]
    assert names == ["a.mkv", "b.MP4", "sub/c.webm", "sub/deep"]
    assert find_videos([tmp_path / "sub" / "deep"]) == [tmp_path / "sub" / "deep"]
    assert find_videos([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no video"):
        find_videos([tmp_path / "empty"])


def test_without_a_run_the_error_says_what_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = slt_cache("translate", "clip.mp4")
    assert ran.code == 2
    assert "slt-cache demo" in ran.err
    assert "slt-cache prepare tsv --root DIR" in ran.err
