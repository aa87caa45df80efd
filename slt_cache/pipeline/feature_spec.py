"""Spec of the features that a run asks for: extraction writes it, and every command that opens a cache compares it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual
from slt_cache.config import AugmentationConfig, FeaturesConfig, VideoConfig
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.file import CacheFile
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.pipeline.cached_clips import require_manifest
from slt_cache.progress import log
from slt_cache.runs.run import Run


def feature_spec(
    checkpoint: VisualCheckpoint, features: FeaturesConfig, augmentation: AugmentationConfig
) -> FeatureSpec:
    """Returns the spec of this encoder's features with these settings. Raises InputError for imported features, which
    no encoder makes."""
    model = checkpoint.model
    if features.level == IMPORTED:
        raise InputError(
            "features.level imported: made elsewhere, not by an encoder. Set features.level to sign, frame or hidden."
        )
    dims = {
        "frame": model.encoder.kind.dim,
        "sign": model.encoder.dim,
        "hidden": model.translator.kind.width,
    }
    return FeatureSpec(
        encoder_sha256=checkpoint.sha256(features.level),
        dim=dims[features.level],
        **_settings(model.encoder.kind.name, checkpoint.video, features, augmentation),
    )


def _settings(
    backbone: str, video: VideoConfig, features: FeaturesConfig, augmentation: AugmentationConfig
) -> dict[str, Any]:
    """Returns the fields of the spec that need no weights."""
    augmented = features.views > 1
    return {
        "backbone": backbone,
        "level": features.level,
        "dtype": features.dtype,
        "precision": features.precision,
        "fps": video.fps or None,
        "keep_rate": video.keep_rate,
        "resize": video.resize,
        "crop": video.size,
        "fit": video.fit,
        "blank": video.blank,
        "mean": video.mean,
        "std": video.std,
        "decoder": "decord",
        "views": features.views,
        "view_seed": features.view_seed if augmented else None,
        "augmentation": augmentation.recorded() if augmented else None,
    }


def asked_spec(run: Run) -> FeatureSpec | Mapping[str, Any]:
    """Returns what the run requires of a cache: the full spec if it has an encoder, else the fields in its settings."""
    config = run.config
    if config.features.level == IMPORTED:
        return {"level": IMPORTED}
    if (run.visual / "best").is_dir():
        return feature_spec(load_visual(run.visual / "best"), config.features, config.augmentation)
    return _settings(config.encoder.backbone, config.video, config.features, config.augmentation)


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
