"""The spec of the features that a run asks for: extraction writes it, every command that opens a cache compares it."""

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
    """The spec of what this encoder makes with these settings. Raises InputError for imported features, which no
    encoder makes."""
    model = checkpoint.model
    if features.level == IMPORTED:
        raise InputError(
            "features.level imported: no encoder makes these. Set features.level to sign, frame or hidden."
        )
    dims = {
        "frame": model.encoder.kind.dim,
        "sign": model.encoder.dim,
        "hidden": model.translator.seq2seq.config.d_model,
    }
    return FeatureSpec(
        encoder_sha256=checkpoint.sha256(features.level),
        dim=dims[features.level],
        **_settings(model.encoder.kind.name, checkpoint.video, features, augmentation),
    )


def _settings(
    backbone: str, video: VideoConfig, features: FeaturesConfig, augmentation: AugmentationConfig
) -> dict[str, Any]:
    """Returns the fields that need no weights."""
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
    """What the run asks of a cache: all of the spec where it has an encoder, else what its settings say."""
    config = run.config
    if config.features.level == IMPORTED:
        return {"level": IMPORTED}
    if (run.visual / "best").is_dir():
        return feature_spec(load_visual(run.visual / "best"), config.features, config.augmentation)
    return _settings(config.encoder.backbone, config.video, config.features, config.augmentation)


def open_features(
    run: Run, cache: Path | CacheFile, split: str, asked: FeatureSpec | Mapping[str, Any]
) -> FeatureCache:
    """The one way to open a cache for a run. Raises InputError where its features, clips or sentences are not those
    that are asked for; says how many clips are missing."""
    held = FeatureCache(cache, split, run.config.compute.verify_features)
    held.require_spec(asked)
    require_manifest(run, held)
    if not held.complete:
        log(f"{held.path}: {len(held.missing)} clips of {split} are missing; all that follows is without them.")
    return held
