"""Spec of the features that a run asks for: extraction writes it, and every command that opens a cache compares it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.visual import load_visual
from slt_cache.config import AugmentationConfig, Config, FeaturesConfig, is_network
from slt_cache.corpora.manifest import has_boxes
from slt_cache.encoders.base import Encoder, UnreachableWeights, spec_settings
from slt_cache.encoders.registry import name_of_network, open_encoder
from slt_cache.features.cache import FeatureCache
from slt_cache.features.file import CacheFile
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.pipeline.cached_clips import require_manifest
from slt_cache.progress import log
from slt_cache.runs.run import Run


def asked_spec(run: Run) -> FeatureSpec | Mapping[str, Any]:
    """Returns what the run requires of a cache: the full spec if it has an encoder, else the fields in its settings."""
    if run.config.features.level == IMPORTED:
        return {"level": IMPORTED}
    asked = _asked_of_encoder(run)
    return with_boxes(run, asked) if isinstance(asked, FeatureSpec) else {**asked, "boxes": _boxes(run)}


def with_boxes(run: Run, spec: FeatureSpec) -> FeatureSpec:
    """Returns the spec of features whose frames are cropped to the boxes of the run's manifest, if it has some."""
    return replace(spec, boxes=_boxes(run))


def _boxes(run: Run) -> bool | None:
    """Returns what the spec says of boxes."""
    return has_boxes(run.manifest) or None


def _asked_of_encoder(run: Run) -> FeatureSpec | Mapping[str, Any]:
    config = run.config
    if config.encoder.name is not None:
        return _of_named_encoder(run, config.encoder.name)
    if (run.visual / "best").is_dir():
        return load_visual(run.visual / "best").spec(config.features, config.augmentation)
    return _settings(config) | {"level": config.features.level, "backbone": config.encoder.backbone, "encoder": None}


def _of_named_encoder(run: Run, name: str) -> FeatureSpec | Mapping[str, Any]:
    """Returns the spec of the named encoder's features; where its weights are not at hand, only what the settings
    say."""
    config = run.config
    try:
        return open_encoder(config.encoder, config.video).spec(config.features, config.augmentation)
    except UnreachableWeights as error:
        log(f"{error} Until then, the cache is compared with the settings, not with the weights.")
        asked = {name: value for name, value in _settings(config).items() if name not in error.own}
        return asked | ({"encoder": name_of_network(name)} if is_network(name) else {})


def _settings(config: Config) -> dict[str, Any]:
    return spec_settings(config.video, config.features, config.augmentation)


def differs_from(encoder: Encoder, spec: FeatureSpec) -> list[str]:
    """Returns `field: encoder x, features y` for every field in which this encoder's features differ from the spec."""
    made = encoder.spec(_features_of(spec), AugmentationConfig.model_validate(spec.augmentation or {}))
    return replace(made, boxes=spec.boxes).differences(spec, here="encoder", there="features")


def _features_of(spec: FeatureSpec) -> FeaturesConfig:
    """Returns the settings of features with this spec. A named encoder has only one level."""
    names = ("dtype", "precision", "views", *(() if spec.encoder else ("level",)))
    return FeaturesConfig.model_validate(
        {**{name: getattr(spec, name) for name in names}, "view_seed": spec.view_seed or 0}
    )


def open_features(
    run: Run, cache: Path | CacheFile, split: str, asked: FeatureSpec | Mapping[str, Any]
) -> FeatureCache:
    """Opens a cache for a run; the only way to do so. Raises InputError if its features, clips or sentences differ from
    those asked for; logs how many clips are missing."""
    cached = FeatureCache(cache, split, run.config.compute.verify_features)
    cached.require_spec(asked)
    require_manifest(run, cached)
    if not cached.complete:
        log(f"{cached.path}: {len(cached.missing)} clips of {split} are missing and left out from here on.")
    return cached
