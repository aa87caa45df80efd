"""What the web page shows, without a browser and without gradio: answers, limits, and HTML that escapes."""

import base64
import socket
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from slt_cache.app import serve as serve_module
from slt_cache.app.answer import Answer, Answerer, LimitedReader, TooMuch
from slt_cache.app.film import small_film, video_size
from slt_cache.app.limits import Limits
from slt_cache.app.serve import test_clips as clips_to_choose
from slt_cache.app.show import show_answer, show_problem
from slt_cache.corpora.base import Clip
from slt_cache.pipeline.translate import Translator
from slt_cache.runs.run import Run, open_run
from slt_cache.video.chunks import ClipView
from slt_cache.video.stream import UnreadableVideo
from tests.helpers.commands import slt_cache
from tests.helpers.tiny_run import TALKING, train_tiny

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(train_tiny(tmp_path_factory.mktemp("app") / "tiny", *TALKING), None)


@pytest.fixture(scope="module")
def answerer(run: Run) -> Answerer:
    return Answerer(run, Limits(seconds=3.0))


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
        assert answer.frames.shape == (steps, run.config.video.size, run.config.video.size, 3)


def test_there_is_a_frame_for_each_step_and_of_a_long_clip_an_even_choice_is_shown(
    answerer: Answerer, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    video = make_video(tmp_path / "long.mp4", 200)
    answer = answerer.of_clip(Clip("long", "test", video, None, None, ""))
    assert len(answer.frames) == 50
    assert answer.attention.weights.shape[1] == 50
    assert "50 frames were kept, 10 are shown" in show_answer("long", answer)


def test_an_upload_that_is_too_long_is_refused_and_a_clip_of_the_corpus_is_not(
    answerer: Answerer, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    video = make_video(tmp_path / "long.mp4", 100)
    with pytest.raises(TooMuch, match=r"it is 4\.0 s long, but this page accepts 3 s"):
        answerer.of_upload(video)
    assert answerer.of_clip(Clip("long", "test", video, None, None, "")).translation.frames == 100


def test_a_video_of_too_many_pixels_is_refused_before_it_is_decoded(
    answerer: Answerer, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    huge, large = tmp_path / "huge.mkv", tmp_path / "large.mkv"
    write_huge(huge, 16384, 8640)
    write_huge(large, 4096, 4096)
    with pytest.raises(UnreadableVideo, match=r"frames .*16384 x 8640 pixels"):
        answerer.of_upload(huge)  # no command reads such frames
    with pytest.raises(
        TooMuch, match=r"frames have 4096 x 4096 pixels, but this page accepts 9 megapixels \(--max-meg"
    ):
        answerer.of_upload(large)
    film = make_video(tmp_path / "film.mp4", 50)
    size = video_size(film)
    few = LimitedReader(answerer.translator.reader.video, limits=Limits(gigapixels=size.pixels * 49 / 1e9))
    [refused] = few.events(ClipView(Clip("film", "test", film, None, None, "")))
    assert isinstance(refused, TooMuch)
    assert refused.reason.startswith(f"it has 50 frames of {size.width} x {size.height} pixels, but this page accepts")


def write_huge(path: Path, width: int, height: int) -> None:
    """A header that promises frames of this size; behind it is next to nothing."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        stream.codec_context.open()
        for number in range(3):
            packet = av.Packet(b"\xff\xd8 no picture")
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 25), number, number
            container.mux(packet)


def test_the_film_on_the_page_is_the_video_small_enough_to_send(
    make_video: Callable[..., Path], tmp_path: Path
) -> None:
    video = make_video(tmp_path / "long.mp4", 1200)
    film = small_film(Clip("long", "test", video, None, None, ""))
    assert film.startswith("data:video/mp4;base64,") and len(film) < 1_000_000
    played = tmp_path / "played.mp4"
    played.write_bytes(base64.b64decode(film.partition(",")[2]))
    size = video_size(played)
    assert size.frames == 400 and size.height <= 270
    with av.open(str(played)) as container:
        assert float(container.duration or 0) / av.time_base == pytest.approx(1200 / 25, rel=0.1)
    cut = small_film(Clip("cut", "test", video, 1.0, 2.0, ""))
    assert len(cut) < len(film)
    assert small_film(Clip("gone", "test", tmp_path / "gone.mp4", None, None, "")) == ""


def test_a_page_for_others_warns_on_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for host, warned in (("0.0.0.0", True), ("::", True), ("127.0.0.1", False), ("localhost", False)):
        assert serve_module.is_loopback(host) != warned


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


def test_the_pictures_are_what_the_encoder_was_given(answerer: Answerer, clip: Clip) -> None:
    given = [event for event in answerer.translator.reader.events(ClipView(clip)) if isinstance(event, torch.Tensor)]
    np.testing.assert_array_equal(answerer.of_clip(clip).frames, torch.cat(given).permute(0, 2, 3, 1).numpy())


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
    page = show_answer("silent", replace(silent, attention_name="self-attention"))
    assert "(an empty sentence)" in page
    assert "Self-attention of each word" in page and "cross-attention" not in page.lower()


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


def test_reliability_is_shown_on_request_with_a_warning_where_the_video_decided_little(
    answerer: Answerer, run: Run, clip: Clip
) -> None:
    assert answerer.of_clip(clip).translation.evidence is None
    assert "Reliability" not in show_answer("clip", answerer.of_clip(clip))
    measuring = Answerer(run, Limits(seconds=3.0), reliability=True)
    found = measuring.of_clip(clip)
    evidence = found.translation.evidence
    assert evidence is not None
    page = show_answer("clip", found)
    assert f"Reliability {evidence.reliability:.2f}" in page
    assert ("Little of this is from the video" in page) == (evidence.reliability < 0.5)
    for word in evidence.words:
        assert f"{word.text}</span>" in page
