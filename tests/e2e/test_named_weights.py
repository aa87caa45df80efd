"""Weights of networks that are used as they come: ImageNet's, whatever the shipped configs say of those of stage 1."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torchvision.models import resnet18

from slt_cache.encoders.weights import tensors_sha256
from slt_cache.features.cache import FeatureCache
from slt_cache.runs.run import open_run
from tests.helpers.commands import slt_cache
from tests.helpers.fake_efficientnet import install_fake_efficientnet
from tests.helpers.tiny_run import succeed

SMALL = ("--split", "dev", "--set", "corpus.clips=20", "--set", "compute.workers=0")


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, where commands run, without a network."""

    def unreachable(url: str, *_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def imagenet(folder: Path) -> dict[str, torch.Tensor]:
    """Puts weights where torchvision keeps those of resnet18 that it has downloaded."""
    torch.manual_seed(1)
    weights: dict[str, torch.Tensor] = resnet18().state_dict()
    place = folder / "torch" / "hub" / "checkpoints"
    place.mkdir(parents=True)
    torch.save(weights, place / "resnet18-f37072fd.pth")
    return weights


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (("--encoder", "resnet18"), "resnet18-f37072fd.pth"),
        (("--encoder", "resnet34", "--config", "avatar-rich"), "resnet34-b627a593.pth"),
        (("--set", "encoder.name=torchvision:mobilenet_v3_small"), "mobilenet_v3_small-047dcff4.pth"),
    ],
)
def test_without_a_network_the_error_says_which_file_to_fetch_and_nothing_is_made(
    empty: Path, words: tuple[str, ...], file: str
) -> None:
    ran = slt_cache("extract-features", *words)
    assert ran.code == 2
    [said] = [line for line in ran.err.splitlines() if not line.startswith("Downloading: ")]
    assert said.startswith("error: encoder.weights imagenet: could not be downloaded (<urlopen error no network>)")
    assert f"{file} elsewhere and set encoder.weights to its path, or encoder.weights=none" in said
    assert list(empty.iterdir()) == []


def test_the_bare_call_uses_imagenet_weights_and_those_of_stage_1_stay(empty: Path, tmp_path: Path) -> None:
    weights = imagenet(tmp_path)
    ran = succeed("extract-features", "--encoder", "resnet18", *SMALL)
    assert "weights imagenet: " in ran.err and "warning" not in ran.err
    run = empty / "runs" / "avatar"
    spec = FeatureCache(run / "feats.h5", "dev").spec
    body = {name: one for name, one in weights.items() if not name.startswith("fc.")}
    assert (spec.encoder, spec.encoder_sha256) == ("resnet18", tensors_sha256(body))
    assert spec.mean == (0.485, 0.456, 0.406)
    settings = open_run(run).config
    assert (settings.encoder.weights, settings.corpus.clips) == ("none", 20)
    for words in ((), ("--encoder", "resnet18"), ("--set", "encoder.name=torchvision:resnet18")):
        assert "already exist" in succeed("extract-features", "--split", "dev", *words).out
    refused = slt_cache("extract-features", "--split", "dev", "--set", "encoder.weights=none")
    assert refused.code == 2 and "encoder_sha256: file" in refused.err


def test_random_weights_are_used_where_they_are_asked_for_and_named_as_such(empty: Path) -> None:
    ran = succeed("extract-features", "--encoder", "resnet18", "--set", "encoder.weights=none", *SMALL)
    assert "weights none: random" in ran.err
    assert open_run(empty / "runs" / "avatar").config.encoder.as_named().weights == "none"
    assert "already exist" in succeed("extract-features", "--split", "dev").out


def test_features_that_vanish_for_random_weights_are_not_blamed_on_the_videos(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_fake_efficientnet(monkeypatch, tmp_path)
    words = ("extract-features", "--encoder", "efficientnet-lite0", *SMALL)
    ran = slt_cache(*words, "--set", "encoder.weights=none")
    assert ran.code == 1 and "too close to 0 for float16" in ran.err
    assert "The encoder's weights are random (encoder.weights=none): set encoder.weights=imagenet." in ran.err
    assert "Repair" not in ran.err
    assert "weights imagenet: Apache-2.0" in succeed(*words).err


def test_a_corpus_that_is_prepared_on_the_way_has_the_settings_of_the_command_line_which_are_saved(
    empty: Path,
) -> None:
    run = empty / "mine"
    run.mkdir()
    (run / "config.yaml").write_text("corpus: {name: avatar}\nllm: {name: small-mbart}\n", encoding="utf-8")
    words = ("--encoder", "resnet18", "--set", "encoder.weights=none", "--set", "video.size=32")
    ran = succeed("extract-features", "--run", run, *SMALL, *words)
    assert "warning" not in ran.err
    assert len((run / "manifest.tsv").read_text(encoding="utf-8").splitlines()) == 21
    assert open_run(run).config.corpus.clips == 20
    ran = slt_cache("extract-features", "--run", run, "--set", "corpus.clips=24")
    assert ran.code == 2 and "corpus.clips: made with 20, asked for 24" in ran.err
