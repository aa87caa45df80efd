"""An encoder of another backbone, from settings to sentences, and the trained encoder by itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from slt_cache.checkpoints.visual import load_visual
from slt_cache.config import load_config
from slt_cache.corpora.manifest import read_manifest
from slt_cache.encoders.registry import BACKBONES
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, FeaturesDiffer
from slt_cache.pipeline.encoder import load_encoder
from slt_cache.pipeline.feature_spec import asked_spec
from slt_cache.runs.run import Run
from slt_cache.video.chunks import ChunkReader, plain
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.tiny_run import succeed, train_tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose stages were all trained with the second backbone."""
    folder = tmp_path_factory.mktemp("runs") / "second"
    brief = ("video.size=24", "visual_training.epochs=1", "llm_training.epochs=1")
    return train_tiny(folder, "encoder.backbone=resnet34", *brief)


def test_another_backbone_is_trained_cached_and_scored_by_its_name_alone(run: Path) -> None:
    scored = json.loads(succeed("eval", "--run", run, "--json").out)
    assert scored["clips"] > 0
    visual = load_visual(run / "visual" / "best")
    assert sum(name.endswith("conv1.weight") for name in visual.model.encoder.state_dict()) == 17
    assert visual.record.settings["encoder"]["backbone"] == "resnet34"
    assert FeatureCache(run / "feats.h5", "train").spec.backbone == "resnet34"


def test_a_training_with_another_backbone_is_refused_with_both_names(run: Path) -> None:
    ran = slt_cache("train-visual", "--run", run, "--set", "encoder.backbone=resnet18")
    assert ran.code == 2
    assert "encoder.backbone: made with resnet34, asked for resnet18" in ran.err


def test_a_cache_of_another_backbone_is_refused_with_both_names(run: Path, tmp_path: Path) -> None:
    asked = asked_spec(Run(tmp_path, load_config(str(TINY))))
    with pytest.raises(FeaturesDiffer, match="backbone: file resnet34, this run resnet18"):
        FeatureCache(run / "feats.h5", "train").require_spec(asked)


@pytest.mark.parametrize("command", ["train-visual", "train-joint"])
def test_an_unknown_backbone_is_refused_before_anything_is_made(tmp_path: Path, command: str) -> None:
    ran = slt_cache(command, "--config", TINY, "--run", tmp_path / "run", "--set", "encoder.backbone=resnet19")
    assert ran.code == 2
    assert f"encoder.backbone resnet19: unknown. Choose one of {', '.join(BACKBONES)}." in ran.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["", "visual/best"])
def test_a_loaded_encoder_gives_the_features_of_the_cache(run: Path, part: str) -> None:
    encoder = load_encoder(run / part, device="cpu")
    clip = next(clip for clip in read_manifest(run / "manifest.tsv") if clip.split == "dev")
    reader = ChunkReader(load_visual(run / "visual" / "best").video)
    *pieces, _ = reader.events(next(plain([clip])))
    found, cached = encoder(torch.cat(pieces)), FeatureCache(run / "feats.h5", "dev")[clip.id]  # type: ignore[arg-type]
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, torch.tensor(cached), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": "words"}, "features.level"),
        ({"level": "imported"}, "made elsewhere, not by an encoder"),
        ({"dtype": "int8"}, "features.dtype"),
        ({"device": "abacus"}, "no such kind of device"),
    ],
)
def test_what_an_encoder_cannot_be_loaded_with_is_refused(run: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_encoder(run, **options)


def test_a_folder_without_an_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished visual encoder"):
        load_encoder(tmp_path / "nothing")
