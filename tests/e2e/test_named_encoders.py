"""Encoders that are used as they come, from the command line: features, stage 2 and new videos without a stage 1."""

import json
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import resnet18

from slt_cache.config import load_config
from slt_cache.corpora.base import of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.decoding.encode import encode, usable
from slt_cache.features.cache import FeatureCache
from slt_cache.models.saved import read_about
from slt_cache.pipeline.encoder import extractor_of, frozen_encoder, load_encoder, reader_of
from slt_cache.pipeline.translate import Translator
from slt_cache.runs.run import open_run
from slt_cache.video.chunks import ClipView
from tests.helpers.commands import TINY, complaints, slt_cache
from tests.helpers.fake_efficientnet import install_fake_efficientnet
from tests.helpers.small_vision_models import make_vision_model
from tests.helpers.tiny_run import TALKING, succeed


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict, since a test has no network."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(resnet18().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[Path]:
    """A run whose stage 2 was trained on features of a network as it comes."""
    run = tmp_path_factory.mktemp("named") / "run"
    chosen = (f"encoder.weights={weights}", "video.keep_rate=0.5", "compute.keep_state=false", *TALKING)
    words = [part for word in chosen for part in ("--set", word)]
    succeed("extract-features", "--encoder", "resnet18", "--run", run, "--config", TINY, *words)
    succeed("train-llm", "--features", "feats.h5", "--run", run)
    yield run


def test_without_stage_1_the_cache_is_that_of_the_named_encoder(trained: Path, weights: Path) -> None:
    assert not (trained / "visual").exists()
    spec = FeatureCache(trained / "feats.h5", "train").spec
    assert (spec.encoder, spec.level, spec.dim, spec.keep_rate, spec.backbone) == ("resnet18", "frame", 512, 0.5, None)
    config, named = open_run(trained).config, open_run(trained).config.encoder.as_named()
    assert (named.name, named.weights, config.video.keep_rate) == ("resnet18", str(weights), 0.5)
    assert config.encoder.weights == load_config(str(TINY)).encoder.weights
    about = read_about(trained / "llm" / "best")
    assert (about.features["encoder"], about.encoder_sha256) == ("resnet18", spec.encoder_sha256)
    assert str(weights.parent) not in (trained / "llm" / "best" / "sign_translator.json").read_text()


def test_videos_are_translated_as_from_the_cache(trained: Path) -> None:
    succeed("eval", "--run", trained)
    from_cache = (trained / "eval" / "test.tsv").read_text().splitlines()[1:]
    videos = [clip.video for clip in of_split(read_manifest(trained / "manifest.tsv"), "test")]
    ran = succeed("translate", *videos, "--run", trained, "--json")
    found = [one["text"] for one in json.loads(ran.out)["translations"]]
    assert any(found)
    assert found == [line.split("\t")[2] for line in from_cache]
    listed = json.loads(succeed("eval", "--run", trained, "--manifest", trained / "manifest.tsv", "--json").out)
    assert listed["clips"] == 24


def test_live_features_are_the_cached_ones(trained: Path) -> None:
    cache, translator = FeatureCache(trained / "feats.h5", "test"), Translator.from_run(trained, "cpu")
    for clip in of_split(read_manifest(trained / "manifest.tsv"), "test"):
        live = translator.encoded(clip).features.numpy()
        np.testing.assert_allclose(live, cache[clip.id], rtol=2e-3, atol=1e-3)
        frames = [event for event in translator.reader.events(ClipView(clip)) if isinstance(event, torch.Tensor)]
        alone = load_encoder(trained, device="cpu")(torch.cat(frames)).numpy()
        np.testing.assert_allclose(alone, cache[clip.id], rtol=2e-3, atol=1e-3)
    assert (
        "largest relative error" in succeed("cache", "verify", trained / "feats.h5", "--run", trained, "--encoder").out
    )


@pytest.mark.parametrize(
    ("kind", "settings", "spec"),
    [
        ("dinov2", {}, ("frame", 16, None, None, {"output": "pooled"})),
        ("clip", {"scales": "[1, 2]", "output": "class"}, ("frame", 32, None, None, None)),
        ("videomae", {"stride": "3"}, ("window", 16, 4, 3, {"output": "patches"})),
    ],
)
def test_features_of_a_vision_model_are_live_as_they_are_cached(
    trained: Path, tmp_path: Path, kind: str, settings: dict[str, str], spec: tuple[Any, ...]
) -> None:
    make_vision_model(kind, tmp_path / kind, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    cache, words = tmp_path / "feats.h5", [f"encoder.name=hf:{tmp_path / kind}"]
    words += [f"encoder.{name}={value}" for name, value in settings.items()]
    chosen = [part for word in words for part in ("--set", word)]
    ran = succeed("extract-features", "--run", trained, "--features", cache, "--split", "test", *chosen)
    assert "Licence: not stated in its files" in ran.err
    for word in words:
        assert word.partition("=")[0] in ran.out  # the next command repeats what the run does not hold
    made = FeatureCache(cache, "test").spec
    assert (made.level, made.dim, made.window, made.stride, made.options) == (
        *spec[:4],
        spec[4] or {"output": "class", "scales": [1, 2]},
    )
    assert str(tmp_path) not in made.to_json()
    require_live_as_cached(trained, cache, words)


def require_live_as_cached(run: Path, file: Path, words: list[str]) -> None:
    """Extracts the clips of the test split again, one by one, and by `cache verify`."""
    chosen = [part for word in words for part in ("--set", word)]
    verified = succeed("cache", "verify", file, "--run", run, "--encoder", *chosen)
    assert "3 clips extracted again" in verified.out
    encoder, device = extractor_of(open_run(run, overrides=words, device="cpu")), torch.device("cpu")
    cache = FeatureCache(file, "test")
    for clip in of_split(read_manifest(run / "manifest.tsv"), "test"):
        frozen = frozen_encoder(encoder, cache.spec, device, batch_frames=5)
        [live] = usable(encode(frozen, reader_of(encoder).events(ClipView(clip))))
        assert np.ptp(cache[clip.id]) > 0.1
        np.testing.assert_allclose(live.features.numpy(), cache[clip.id], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "source", "dim", "size"),
    [("efficientnet-lite0", "imagenet", 8, 224), ("torchvision:regnet_x_400mf", "none", 400, 32)],
)
def test_features_of_another_network_are_live_as_they_are_cached(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str, dim: int, size: int
) -> None:
    install_fake_efficientnet(monkeypatch, tmp_path)
    words, cache = [f"encoder.name={name}", f"encoder.weights={source}"], tmp_path / "feats.h5"
    chosen = [part for word in words for part in ("--set", word)]
    succeed("extract-features", "--run", trained, "--features", cache, "--split", "test", *chosen)
    spec = FeatureCache(cache, "test").spec
    assert (spec.encoder, spec.level, spec.dim, spec.crop) == (name, "frame", dim, size)
    require_live_as_cached(trained, cache, words)


@pytest.mark.parametrize("count", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_extraction_with_a_vision_model_killed_anywhere_resumes_to_the_same_bytes(tmp_path: Path, count: int) -> None:
    make_vision_model("videomae", tmp_path / "model", image_mean=[0.5] * 3, image_std=[0.5] * 3)
    whole, draw = tmp_path / "whole", random.Random(count)
    succeed("extract-features", "--encoder", f"hf:{tmp_path / 'model'}", "--run", whole, "--config", TINY)
    moments = [
        {"time": draw.random(), "workers": 2} if number % 3 == 0 else {"event": draw.random(), "workers": 0}
        for number in range(count)
    ]
    points = [{"stage": "extract", "signal": signal.SIGKILL, **moment} for moment in moments]
    assert complaints(whole, tmp_path / "killed", points) == [None] * count


def test_a_cache_elsewhere_gives_a_folder_without_settings_those_of_its_encoder(tmp_path: Path, weights: Path) -> None:
    run, words = tmp_path / "run", ("--split", "test", "--set", f"encoder.weights={weights}")
    for name, encoder in (("a", "resnet18"), ("b", "torchvision:resnet18")):
        cache = tmp_path / f"{name}.h5"
        config = ("--config", TINY) if name == "a" else ()
        succeed("extract-features", "--encoder", encoder, "--run", run, "--features", cache, *config, *words)
        assert open_run(run).config.encoder.name == "resnet18"  # that of the first
    assert "the run asks for" in succeed("cache", "verify", tmp_path / "a.h5", "--run", run).out
    [known] = (run / "encoders").iterdir()
    assert known.stem == FeatureCache(tmp_path / "b.h5", "test").spec.encoder_sha256
    assert f"weights: {weights}" in known.read_text()


def test_changed_weights_are_refused_by_all_that_would_mix_them(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    torch.manual_seed(2)
    torch.save(resnet18().state_dict(), tmp_path / "other.pth")
    (run / "config.yaml").write_text(
        (trained / "config.yaml")
        .read_text()
        .replace(open_run(trained).config.encoder.as_named().weights, str(tmp_path / "other.pth"))
    )
    for words in (
        ("extract-features",),
        ("train-llm", "--features", "feats.h5"),
        ("translate", run / "corpus" / "videos"),
    ):
        ran = slt_cache(*words, "--run", run)
        assert ran.code == 2, words
        assert "encoder_sha256" in ran.err
        assert len([line for line in ran.err.splitlines() if "edited" not in line]) <= 2
    assert slt_cache("cache", "verify", run / "feats.h5", "--run", run).code == 1


def test_the_encoder_of_stage_1_and_a_named_one_are_not_mixed(trained: Path, tmp_path: Path) -> None:
    for setting, said in (
        ("null", "encoder: file resnet18, this run None"),
        ("resnet34", "encoder: file resnet18, this run resnet34"),
    ):
        ran = slt_cache(
            *("train-llm", "--features", trained / "feats.h5", "--run", tmp_path / "new", "--config", TINY),
            *("--set", f"encoder.name={setting}"),
        )
        assert ran.code == 2, ran.err
        assert said in ran.err


def test_what_a_named_encoder_cannot_do_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    for words, said in (
        (("--encoder", "resnet19"), "encoder.name resnet19: unknown. Choose one of resnet18, "),
        (("--encoder", "resnet18", "--level", "sign"), "features.level sign: encoder resnet18 is used as it comes"),
        (("--encoder", "resnet18", "--set", "features.level=hidden"), "features.level hidden: encoder resnet18 is"),
        (("--encoder", "resnet18", "--set", "encoder.name=resnet34"), "--encoder resnet18 and --set encoder.name"),
        ((), "no finished visual encoder"),
    ):
        ran = slt_cache("extract-features", "--run", tmp_path / "run", "--config", TINY, *words)
        assert ran.code == 2, words
        assert said in ran.err
        assert "Traceback" not in ran.err
        assert not (tmp_path / "run").exists(), words
