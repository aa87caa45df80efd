"""What the web page shows, without a browser and without gradio: answers, limits, and HTML that escapes."""

import socket
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from slt_cache.app.answer import Answer, Answerer, TooLong
from slt_cache.app.serve import test_clips as clips_to_choose
from slt_cache.app.show import show_answer, show_problem
from slt_cache.config import VideoConfig
from slt_cache.corpora.clips import Clip
from slt_cache.pipeline.run import Run, open_run
from slt_cache.pipeline.translate import Translator
from slt_cache.video.frames import UnreadableVideo
from tests.commands import slt_cache
from tests.tiny_run import TALKING, train_tiny

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(train_tiny(tmp_path_factory.mktemp("app") / "tiny", *TALKING), None)


@pytest.fixture(scope="module")
def answerer(run: Run) -> Answerer:
    return Answerer(run, max_seconds=3.0)


@pytest.fixture(scope="module")
def clip(run: Run) -> Clip:
    return clips_to_choose(run)[0]


def test_the_answer_is_the_translation_of_the_command(answerer: Answerer, run: Run, clip: Clip) -> None:
    expected = Translator(run)(clip.video, nbest=3)
    for answer in (answerer.of_upload(clip.video), answerer.of_clip(clip)):
        assert answer.translation.texts == expected.texts
        assert answer.translation.scores == pytest.approx(expected.scores)
        assert answer.length == pytest.approx(expected.frames / 25)
        steps = -(-expected.frames // 4)
        assert answer.attention.weights.shape == (len(answer.attention.words), steps)
        assert " ".join(answer.attention.words) == answer.translation.text
        assert answer.frames.shape == (steps, 96, 96, 3)


def test_there_is_a_frame_for_each_step_and_of_a_long_clip_an_even_choice_is_shown(
    answerer: Answerer, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    video = make_video(tmp_path / "long.mp4", 200)
    answer = answerer.of_clip(Clip("long", "test", video, None, None, ""))
    assert answer.frames.shape == (50, 96, 96, 3)
    assert answer.attention.weights.shape[1] == 50
    assert "50 frames were kept, 16 are shown" in show_answer("long", answer)


def test_an_upload_that_is_too_long_is_refused_and_a_clip_of_the_corpus_is_not(
    answerer: Answerer, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    video = make_video(tmp_path / "long.mp4", 100)
    with pytest.raises(TooLong, match=r"it is 4\.0 s long, and this page takes 3 s"):
        answerer.of_upload(video)
    assert answerer.of_clip(Clip("long", "test", video, None, None, "")).translation.frames == 100


def test_a_cut_of_a_long_video_is_translated_and_drawn_as_the_cut(
    answerer: Answerer, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    video = make_video(tmp_path / "long.mp4", 100)
    answer = answerer.of_clip(Clip("cut", "test", video, 1.0, 2.0, ""))
    assert answer.translation.frames == 25
    assert len(answer.frames) == 7


def test_a_text_file_is_no_video(answerer: Answerer, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    with pytest.raises(UnreadableVideo, match="it cannot be read"):
        answerer.of_upload(bad)


def test_whatever_a_video_or_a_sentence_is_called_stays_text(answerer: Answerer, clip: Clip) -> None:
    found = answerer.of_clip(clip)
    assert len(found.attention.words) > 1
    hostile = Answer(
        type(found.translation)(**{**vars(found.translation), "texts": (HOSTILE,), "scores": (-1.0,)}),
        type(found.attention)((HOSTILE,), found.attention.weights[:1]),
        found.frames,
        found.length,
    )
    for page in (show_answer(HOSTILE, hostile, HOSTILE), show_problem(HOSTILE, HOSTILE, "Give another.")):
        assert "<script" not in page
        assert "&lt;script&gt;" in page


def test_the_pictures_keep_the_frames_that_the_model_was_given(answerer: Answerer) -> None:
    small, given = answerer._small.video, answerer.translator.reader.video
    assert (small.keep_rate, small.fps) == (given.keep_rate, given.fps)
    assert small.mean == VideoConfig().mean


def test_without_gradio_the_error_names_the_extra(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    ran = slt_cache("app", "--run", run.folder)
    assert ran.code == 2
    assert "pip install 'gradio>=6'" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_an_empty_sentence_is_said_to_be_one(answerer: Answerer, clip: Clip) -> None:
    found = answerer.of_clip(clip)
    silent = Answer(
        type(found.translation)(**{**vars(found.translation), "texts": ("",), "scores": (-1.0,)}),
        type(found.attention)((), found.attention.weights[:0]),
        found.frames,
        None,
    )
    assert "(an empty sentence)" in show_answer("silent", silent)


def test_an_address_that_cannot_be_had_is_told_at_once(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = slt_cache("app", "--run", run.folder, "--port", str(port))
        assert ran.code == 2
        assert ran.err == (
            f"error: 127.0.0.1, port {port}: cannot be listened on (Address already in use). "
            "Choose another --host or --port.\n"
        )
    ran = slt_cache("app", "--run", run.folder, "--host", "nowhere.invalid")
    assert ran.code == 2
    assert ran.err.startswith("error: nowhere.invalid: cannot be listened on (")


def test_without_a_trained_run_the_error_says_what_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "gradio", types.ModuleType("gradio"))
    monkeypatch.setitem(sys.modules, "slt_cache.app.page", types.ModuleType("slt_cache.app.page"))
    ran = slt_cache("app")
    assert ran.code == 2
    assert "slt-cache demo" in ran.err
    assert len(ran.err.splitlines()) == 1
