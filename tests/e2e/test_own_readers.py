"""Encoders whose features another process makes, from the command line: `pose:mediapipe`, with a stand-in for
MediaPipe, and `command:PROGRAM`. Cache, stage 2 and new videos go through the code of all encoders."""

import json
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from slt_cache.app.answer import Answerer, TooMuch
from slt_cache.app.limits import Limits
from slt_cache.corpora.base import of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.features.cache import FeatureCache
from slt_cache.holistic import child
from slt_cache.pipeline.feature_spec import asked_spec
from slt_cache.pipeline.translate import Translator
from slt_cache.runs.run import open_run
from tests.helpers.commands import TINY, complaints, slt_cache
from tests.helpers.fake_mediapipe import write_fake_mediapipe
from tests.helpers.own_program import write_program
from tests.helpers.tiny_run import TALKING, succeed

POSE, COMMAND = "pose:mediapipe", "command"


@pytest.fixture(scope="module", autouse=True)
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(write_fake_mediapipe(tmp_path_factory.mktemp("packages"))))
        running: dict[tuple[int, str | None], child.Holistic] = {}
        patched.setattr(child, "_running", running)
        child.installed.cache_clear()
        yield
        for one in running.values():
            one.end()
    child.installed.cache_clear()


@pytest.fixture(scope="module", params=[POSE, COMMAND])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose stage 2 was trained on the features of one of them."""
    folder = tmp_path_factory.mktemp("own")
    program = write_program(folder / "program")
    name = POSE if request.param == POSE else f"command:{program} --width 6"
    talking = TALKING if request.param == POSE else ("llm_training.epochs=1",)
    chosen = ("video.keep_rate=0.5", "compute.keep_state=false", *talking)
    words = [part for word in chosen for part in ("--set", word)]
    succeed("extract-features", "--encoder", name, "--run", folder / "run", "--config", TINY, *words)
    succeed("train-llm", "--features", "feats.h5", "--run", folder / "run")
    return folder / "run"


def test_videos_are_translated_as_from_the_cache(trained: Path) -> None:
    succeed("eval", "--run", trained)
    from_cache = (trained / "eval" / "test.tsv").read_text().splitlines()[1:]
    clips = of_split(read_manifest(trained / "manifest.tsv"), "test")
    ran = succeed("translate", *(clip.video for clip in clips), "--run", trained, "--json")
    found = [one["text"] for one in json.loads(ran.out)["translations"]]
    assert any(found) or not FeatureCache(trained / "feats.h5", "test").spec.keep_rate
    assert found == [line.split("\t")[2] for line in from_cache]


def test_live_features_are_the_cached_ones_to_the_byte(trained: Path) -> None:
    cache, translator = FeatureCache(trained / "feats.h5", "test"), Translator.from_run(trained, "cpu")
    for clip in of_split(read_manifest(trained / "manifest.tsv"), "test"):
        np.testing.assert_array_equal(translator.encoded(clip).features.numpy(), cache[clip.id])
    assert (
        "largest relative error 0"
        in succeed("cache", "verify", trained / "feats.h5", "--run", trained, "--encoder").out
    )


def test_a_model_folder_gives_the_sentences_of_the_run(trained: Path, tmp_path: Path) -> None:
    clip = of_split(read_manifest(trained / "manifest.tsv"), "test")[0]
    succeed("export-model", "--run", trained, "--out", tmp_path / "out")
    program = shutil.copy(trained.parent / "program", tmp_path / "renamed")
    is_program = str(open_run(trained).config.encoder.name) != POSE
    own = ("--set", f"encoder.name=command:{program} --width 6") if is_program else ()
    of_run, of_folder = (
        json.loads(succeed("translate", clip.video, *where, "--json").out)["translations"][0]["nbest"]
        for where in (("--run", trained), ("--model", tmp_path / "out", *own))
    )
    assert of_run == of_folder


def test_the_page_answers_for_uploads_within_its_limits(trained: Path) -> None:
    clip = of_split(read_manifest(trained / "manifest.tsv"), "test")[0]
    answerer = Answerer(open_run(trained, device="cpu"), Limits())
    answer = answerer.of_upload(clip.video)
    assert answer.translation.text == Translator.from_run(trained, "cpu")(clip.video).text
    assert answer.frames.shape[1:] == (32, 32, 3)
    with pytest.raises(TooMuch):
        Answerer(open_run(trained, device="cpu"), Limits(seconds=0.01)).of_upload(clip.video)


def test_workers_and_parts_do_not_change_the_bytes(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    ran = succeed("extract-features", "--run", trained, "--features", other, "--set", "compute.workers=3")
    assert "encoder " in ran.err
    assert other.read_bytes() == (trained / "feats.h5").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("trained", [POSE], indirect=True)
def test_killed_anywhere_and_resumed_the_cache_has_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    draw, points = random.Random(22), []
    for number in range(20):
        moment = {"time": draw.random(), "workers": 2} if number % 2 == 0 else {"event": draw.random(), "workers": 0}
        points.append({"stage": "extract", "signal": signal.SIGKILL, **moment})
    assert complaints(trained, tmp_path / "killed", points) == [None] * 20


@pytest.mark.parametrize("trained", [POSE], indirect=True)
def test_without_mediapipe_stage_2_still_reads_the_cache_and_videos_are_refused(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    child.installed.cache_clear()
    spec = FeatureCache(trained / "feats.h5", "test").spec
    assert not spec.differences(asked_spec(open_run(trained)))
    assert "Until then, the cache is compared with the settings" in capsys.readouterr().err
    assert spec.differences(asked_spec(open_run(trained, overrides=["video.keep_rate=1.0"])))
    succeed("eval", "--run", trained)
    video = of_split(read_manifest(trained / "manifest.tsv"), "test")[0].video
    for words in (("translate", video), ("extract-features", "--restart")):
        ran = slt_cache(*words, "--run", trained)
        assert ran.code == 2
        assert "pip install mediapipe" in ran.err
        assert "Traceback" not in ran.err
    child.installed.cache_clear()


@pytest.mark.parametrize("trained", [COMMAND], indirect=True)
def test_a_changed_program_or_argument_makes_other_features(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    spec = FeatureCache(run / "feats.h5", "train").spec
    assert (spec.encoder, spec.dim, spec.keep_rate) == ("command:program --width 6", 6, None)
    program = trained.parent / "program"
    ran = slt_cache("train-llm", "--features", "feats.h5", "--run", run, "--set", f"encoder.name=command:{program}")
    assert ran.code == 2
    assert "encoder_sha256: file" in ran.err
    changed = f"encoder.name=command:{write_program(tmp_path / 'program', '# changed')} --width 6"
    ran = slt_cache("translate", run / "corpus" / "videos", "--run", run, "--set", changed)
    assert ran.code == 2
    assert "encoder_sha256: encoder" in ran.err
