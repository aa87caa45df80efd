"""Live video: windows are translated as they come, each like a file of its own; a file or a pipe stands in for the
camera."""

import csv
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from slt_cache.pipeline import live as live_module
from slt_cache.pipeline.live import live
from slt_cache.pipeline.translate import Translation, Translator, Untranslated
from slt_cache.video import camera
from tests.helpers.commands import Ran, slt_cache
from tests.helpers.made_run import make_run
from tests.helpers.videos import Coding, encode, x264


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("live") / "run", "mbart", "video.keep_rate=0.5", "generation.num_beams=2")


@pytest.fixture(scope="module")
def translator(run: Path) -> Translator:
    return Translator.from_run(run, device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """100 frames, 4 seconds."""
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", 100)


@contextmanager
def standard_input(path: Path) -> Iterator[None]:
    """A pipe through which the file comes."""
    before, (reading, writing) = os.dup(0), os.pipe()
    os.dup2(reading, 0)

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(path.read_bytes())

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        os.dup2(before, 0)
        for one in (before, reading):
            os.close(one)
        thread.join()


def as_found(found: object) -> tuple[object, ...]:
    assert isinstance(found, Translation)
    return found.start, round(found.end or 0.0, 1), found.texts, found.frames


def test_windows_of_a_live_file_have_the_sentences_of_the_same_windows_of_the_file(
    translator: Translator, video: Path, tmp_path: Path, numbered_frame: Callable[[int], np.ndarray]
) -> None:
    portrait = encode(
        tmp_path / "any.mkv", Coding("any.mkv", x264("keyint=12")), 30, lambda number: numbered_frame(3 * number), 15
    )
    for path, window in ((video, 1.0), (video, 1.5), (portrait, 1.0)):
        expected = list(translator.translate([path], window=window))
        found = list(live(translator, str(path), window))
        assert [as_found(one) for one in found] == [as_found(one) for one in expected]
        for one, other in zip(found, expected, strict=True):
            assert isinstance(one, Translation) and isinstance(other, Translation)
            assert one.video == path and one.lag is not None and one.lag > 0
            assert one.scores == pytest.approx(other.scores, abs=1e-5)
        assert len({one.scores for one in found if isinstance(one, Translation)}) == len(found)


def test_what_remains_at_the_end_is_a_window_of_its_own_unless_it_is_a_moment(
    translator: Translator, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for window, ends in ((3.5, [3.5, 4.0]), (2.4, [2.4, 4.0]), (60.0, [4.0]), (1.96, [1.96, 3.92])):
        found = list(live(translator, str(video), window))
        assert [one.end for one in found] == pytest.approx(ends)
        last = found[-1]
        assert isinstance(last, Translation) and last.frames == round(25 * (ends[-1] - (last.start or 0.0)))
    assert "its last 0.08 s are not translated: they hold no movement" in capsys.readouterr().err


def test_a_pipe_is_read_as_it_comes(run: Path, tmp_path: Path, numbered_frame: Callable[[int], np.ndarray]) -> None:
    stream = encode(tmp_path / "a.ts", Coding("a.ts", x264("keyint=12")), 50, numbered_frame, 25)
    with standard_input(stream):
        ran = slt_cache("translate", "--run", run, "--camera", "-", "--window", "0.9", "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)["translations"]
    assert [(one["video"], one["start"], one["frames"]) for one in found] == [
        ("-", 0, 23),
        ("-", 0.9, 22),
        ("-", 1.8, 5),
    ]
    with standard_input(Path(__file__)):
        ran = slt_cache("translate", "--run", run, "--camera", "-", "--window", "1", "--json")
    assert ran.code == 2 and "no video can be read" in ran.err and len(ran.err.splitlines()) == 1
    assert json.loads(ran.out) == {"translations": [], "failed": []}


def test_each_form_of_output_has_the_lag(run: Path, video: Path) -> None:
    words = ("translate", "--run", run, "--camera", video, "--window", "2")
    lines = slt_cache(*words).out.splitlines()
    assert len(lines) == 2 and lines[1].startswith(f"{video}\t2.0 to 4.0 s\t") and ", lag " in lines[1]
    rows = list(csv.DictReader(slt_cache(*words, "--tsv").out.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [float(row["lag"]) > 0 for row in rows] == [True, True]
    translations = json.loads(slt_cache(*words, "--json").out)["translations"]
    assert [one["lag"] > 0 for one in translations] == [True, True]
    [whole] = json.loads(slt_cache("translate", "--run", run, video, "--json").out)["translations"]
    assert "lag" not in whole


def test_ctrl_c_ends_it_with_what_was_translated(
    run: Path, video: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    translated = live_module._translated

    def pressed(*arguments: object) -> object:
        found = translated(*arguments)  # type: ignore[arg-type]
        if found.start == 1.0:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        return found

    monkeypatch.setattr(live_module, "_translated", pressed)
    ran: Ran = slt_cache("translate", "--run", run, "--camera", video, "--window", "1", "--json")
    assert ran.code == 130 and ran.err.splitlines()[-1].startswith("interrupted"), ran.err
    assert [one["start"] for one in json.loads(ran.out)["translations"]] == [0.0]
    assert list(tmp_path.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.daemon and "_read" in thread.name]


def test_a_file_is_read_at_its_own_speed_only_if_asked(
    translator: Translator, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    list(live(translator, str(video), 2.0))
    assert slept == []
    list(live(translator, str(video), 2.0, paced=True))
    assert len(slept) == 100  # once for each frame


def test_a_camera_that_is_faster_than_the_translator_loses_the_oldest_window_and_says_so(
    translator: Translator, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "is_device", lambda source: True)
    monkeypatch.setattr(live_module._Reader, "windows", after_all(live_module._Reader.windows))
    found = list(live(translator, str(video), 1.0))
    assert [isinstance(one, Untranslated) for one in found] == [True, True, False, False]
    assert isinstance(found[0], Untranslated) and "faster than the translator" in found[0].reason
    assert [one.start for one in found] == [0.0, 1.0, 2.0, 3.0]


def after_all(windows: Callable[..., Iterator[camera.Window]]) -> Callable[..., Iterator[camera.Window]]:
    def late(self: live_module._Reader) -> Iterator[camera.Window]:
        self._thread.join()
        yield from windows(self)

    return late


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--camera", "rtsp://host/stream"), "no address"),
        (("--camera", "http://host/video.mp4"), "no address"),
        (("--camera", "97"), "/dev/video97"),
        (("--camera", "nowhere.mp4"), "nowhere.mp4"),
        (("--camera", "."), "a folder"),
        (("--camera", __file__), "no video can be read"),
        (("--camera", "0", "clip.mp4"), "Omit the videos"),
        (("--camera", __file__, "--window", "0"), "at least 0.1 seconds"),
        (("clip.mp4", "--realtime"), "--camera FILE"),
        ((), "name files or folders"),
    ],
)
def test_what_is_no_camera_is_said_in_a_line(words: tuple[str, ...], says: str, run: Path) -> None:
    ran = slt_cache("translate", "--run", run, *words)
    assert ran.code == 2 and says in ran.err and len(ran.err.splitlines()) == 1, ran.err
