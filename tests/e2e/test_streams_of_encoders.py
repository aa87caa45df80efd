"""Streams of two named encoders and of imported features: from videos to sentences, cached and live."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from slt_cache.corpora.base import of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.features.cache import FeatureCache
from slt_cache.pipeline.translate import Translator
from tests.helpers.commands import TINY
from tests.helpers.tiny_run import TALKING, succeed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run whose stage 2 reads two encoders of the same name with weights of their own, which see different numbers of
    frames."""
    run = tmp_path_factory.mktemp("streams") / "run"
    for number in (1, 2):
        torch.manual_seed(number)
        torch.save(resnet18().state_dict(), run.with_name(f"{number}.pth"))
    chosen = ("compute.keep_state=false", "video.keep_rate=0.5", *TALKING, "llm_training.epochs=20")
    words: list[str | Path] = ["--run", run, "--config", TINY, *(part for word in chosen for part in ("--set", word))]
    first = ("--encoder", "resnet18", "--set", f"encoder.weights={run.with_name('1.pth')}")
    succeed("extract-features", "--features", run / "a.h5", *words, *first)
    other = ("--encoder", "resnet18", "--set", f"encoder.weights={run.with_name('2.pth')}")
    succeed("extract-features", "--features", run / "b.h5", "--run", run, *other, "--set", "video.keep_rate=0.25")
    temporal = ("--set", "llm_training.temporal.stride=2", "--set", "llm_training.stream_fusion=time")
    succeed("train-llm", "--features", "a.h5", "b.h5", "--run", run, *temporal)
    yield run


def test_a_new_video_goes_through_the_encoders_of_all_streams(trained: Path) -> None:
    translator = Translator.from_run(trained, "cpu")
    caches = [FeatureCache(trained / f"{name}.h5", "test") for name in ("a", "b")]
    for clip in of_split(read_manifest(trained / "manifest.tsv"), "test"):
        live = translator.encoded(clip).streams
        assert isinstance(live, tuple) and len(live[0]) != len(live[1])
        for found, cache in zip(live, caches, strict=True):
            np.testing.assert_allclose(found.numpy(), cache[clip.id], rtol=2e-3, atol=1e-3)


def test_eval_gives_the_same_sentences_from_caches_and_from_videos(trained: Path) -> None:
    cached = json.loads(succeed("eval", "--run", trained, "--json").out)
    lines = Path(cached["hypotheses"]).read_text().splitlines()[1:]
    manifest = trained / "manifest.tsv"
    listed = json.loads(succeed("eval", "--run", trained, "--manifest", manifest, "--split", "test", "--json").out)
    assert sorted(lines) == sorted(Path(listed["hypotheses"]).read_text().splitlines()[1:])
    without = json.loads(succeed("eval", "--run", trained, "--without", "b", "--json").out)
    assert without["hypotheses"].endswith("test.without-b.tsv")
    assert succeed("report", "--run", trained).code == 0
    assert "Cross-attention is not shown" not in (trained / "report.html").read_text()


def test_a_model_folder_of_streams_gives_the_sentences_of_the_run(trained: Path, tmp_path: Path) -> None:
    videos = [clip.video for clip in of_split(read_manifest(trained / "manifest.tsv"), "test")]
    succeed("export-model", "--run", trained, "--out", tmp_path / "out")
    of_run, of_folder = (
        json.loads(succeed("translate", *videos, *where, "--json").out)["translations"]
        for where in (("--run", trained), ("--model", tmp_path / "out"))
    )
    assert [one["nbest"] for one in of_run] == [one["nbest"] for one in of_folder]
    assert any(one["text"] for one in of_run)
