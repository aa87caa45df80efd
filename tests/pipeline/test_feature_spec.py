"""What a run asks of a cache, with and without its encoder at hand, and how caches are compared with it."""

from pathlib import Path

import pytest

from slt_cache.config import FeaturesConfig, load_config
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.encoders.registry import open_encoder
from slt_cache.errors import InputError
from slt_cache.features.cache import FeaturesDiffer
from slt_cache.features.layout import Failure
from slt_cache.features.spec import FeatureSpec
from slt_cache.pipeline.feature_spec import asked_spec, differs_from, open_features, with_boxes
from slt_cache.runs.run import Run
from tests.helpers.caches import IDS, TEXTS, add_split, facts_of, rows_of, spec_of
from tests.helpers.commands import TINY

FROZEN = ("encoder.name=resnet18", "encoder.weights=none")


def run_in(folder: Path, *settings: str) -> Run:
    return Run(folder, load_config(str(TINY), list(settings)))


def write_clips(run: Run, box: tuple[float, float, float, float] | None = None) -> None:
    """The manifest of the small caches, or of one clip more or less."""
    clips = [
        Clip(clip_id, "train", run.folder / f"{number}.mp4", None, None, text, box=box)
        for number, (clip_id, text) in enumerate(zip(IDS, TEXTS, strict=True))
    ]
    write_manifest(run.manifest, clips)


def test_before_stage_1_is_trained_the_settings_are_asked_for(tmp_path: Path) -> None:
    asked = asked_spec(run_in(tmp_path, "encoder.backbone=resnet34", "features.level=frame"))
    assert not isinstance(asked, FeatureSpec)
    assert (asked["backbone"], asked["level"], asked["encoder"], asked["boxes"]) == ("resnet34", "frame", None, None)


def test_an_encoder_used_as_it_comes_is_asked_for_with_its_weights(tmp_path: Path) -> None:
    asked = asked_spec(run_in(tmp_path, *FROZEN))
    assert isinstance(asked, FeatureSpec)
    assert asked.encoder == "resnet18"
    assert len(str(asked.encoder_sha256)) == 64


def test_of_imported_features_nothing_but_that_is_asked(tmp_path: Path) -> None:
    assert asked_spec(run_in(tmp_path, "features.level=imported")) == {"level": "imported"}


def test_boxes_of_the_manifest_are_part_of_the_spec(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    assert with_boxes(run, spec_of()).boxes is None
    write_clips(run, box=(0.0, 0.25, 0.5, 1.0))
    assert with_boxes(run, spec_of()).boxes is True
    add_split(run.features, rows_of(), facts_of())
    with pytest.raises(FeaturesDiffer, match="boxes"):
        open_features(run, run.features, "train", asked_spec(run))


def test_differences_between_an_encoder_and_features_name_both_sides(tmp_path: Path) -> None:
    config = run_in(tmp_path, *FROZEN).config
    encoder = open_encoder(config.encoder, config.video)
    made = encoder.spec(FeaturesConfig(dtype="float32"), config.augmentation)
    assert differs_from(encoder, made) == []
    other = open_encoder(config.encoder, config.video.model_copy(update={"size": 30}))
    assert differs_from(other, made) == ["crop: encoder 30, features 32"]


def test_a_cache_is_opened_only_for_the_clips_of_the_run_and_says_which_are_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_in(tmp_path)
    add_split(run.features, rows_of()[:3], facts_of(), missing=(Failure(IDS[3], "empty file"),))
    asked = {"level": "sign"}
    assert len(open_features(run, run.features, "train", asked)) == 3
    assert "1 clips of train are missing and left out" in capsys.readouterr().err
    write_clips(run)
    assert len(open_features(run, run.features, "train", asked)) == 3
    write_manifest(run.manifest, [Clip("other", "train", tmp_path / "o.mp4", None, None, "anders")])
    with pytest.raises(InputError, match=r"not those of .*manifest"):
        open_features(run, run.features, "train", asked)
