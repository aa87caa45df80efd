"""A vision model of transformers as the only encoder, by the commands alone: its cache, stage 2, scores, report, and
new videos from files and a camera."""

import json
from pathlib import Path

import numpy as np
import pytest

from slt_cache.corpora.base import Clip, of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.features.cache import FeatureCache
from slt_cache.pipeline.translate import Translator
from tests.helpers.commands import TINY
from tests.helpers.small_vision_models import make_vision_model
from tests.helpers.tiny_run import TALKING, succeed


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without stage 1, whose `eval` is done."""
    folder = tmp_path_factory.mktemp("alone")
    make_vision_model("dinov2", folder / "model", image_mean=[0.5] * 3, image_std=[0.5] * 3)
    few = ("llm_training.epochs=10", "llm_training.evaluate_every=10", "llm_training.lr=2e-2")
    settings = ("video.keep_rate=0.5", "compute.keep_state=false", *TALKING, *few)
    words = [part for word in settings for part in ("--set", word)]
    name = f"hf:{folder / 'model'}"
    succeed("extract-features", "--encoder", name, "--run", folder / "run", "--config", TINY, *words)
    succeed("train-llm", "--features", "feats.h5", "--run", folder / "run")
    succeed("eval", "--run", folder / "run")
    return folder / "run"


@pytest.fixture
def clips(run: Path) -> list[Clip]:
    return of_split(read_manifest(run / "manifest.tsv"), "test")


def test_videos_have_the_sentences_and_the_features_of_the_cache(run: Path, clips: list[Clip]) -> None:
    assert not (run / "visual").exists()
    from_cache = [line.split("\t")[2] for line in (run / "eval" / "test.tsv").read_text().splitlines()[1:]]
    ran = succeed("translate", *(clip.video for clip in clips), "--run", run, "--json")
    found = [one["text"] for one in json.loads(ran.out)["translations"]]
    assert any(found) and found == from_cache
    cache, translator = FeatureCache(run / "feats.h5", "test"), Translator.from_run(run, "cpu")
    for clip in clips:
        np.testing.assert_allclose(translator.encoded(clip).features, cache[clip.id], rtol=2e-3, atol=2e-3)


def test_the_report_has_a_picture_for_each_clip(run: Path, clips: list[Clip]) -> None:
    succeed("report", "--run", run)
    page = (run / "report.html").read_text()
    assert page.count("data:image/webp") == len(clips)


def test_windows_of_a_camera_have_the_sentences_of_those_of_the_file(run: Path, clips: list[Clip]) -> None:
    words = ("--run", run, "--window", "1", "--json")
    live = json.loads(succeed("translate", "--camera", clips[0].video, *words).out)["translations"]
    cut = json.loads(succeed("translate", clips[0].video, *words).out)["translations"]
    assert len(live) > 1 and all(one["lag"] > 0 for one in live)
    assert [(one["start"], one["text"]) for one in live] == [(one["start"], one["text"]) for one in cut]
