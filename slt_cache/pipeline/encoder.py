"""Visual encoder of a run for stage 2: checked against the requested features, and frozen."""

from pathlib import Path

import torch

from slt_cache.advice import command
from slt_cache.checkpoints.visual import VisualCheckpoint, load_visual
from slt_cache.config import AugmentationConfig, FeaturesConfig, check_config
from slt_cache.device import pick_device
from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.errors import InputError
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.hashes import RECORD_FILE
from slt_cache.pipeline.feature_spec import feature_spec
from slt_cache.runs.run import Run


def encoder_of(run: Run, spec: FeatureSpec) -> VisualCheckpoint:
    """Returns the run's visual encoder. Raises InputError if its features differ from those the translator was trained
    on."""
    if spec.level == IMPORTED:
        raise InputError(
            f"{run.llm}: stage 2 was trained on imported features ({spec.source}); it cannot read videos. "
            f"Import the features of these clips too ({command('cache import FOLDER', out='FILE.h5')}), "
            f"and score them: {run.command('eval --features FILE.h5')}"
        )
    visual = load_visual(run.visual / "best")
    different = differs_from(visual, spec)
    if different:
        raise InputError(
            f"{run.visual}: the visual encoder is not the one that stage 2 was trained on ({'; '.join(different)}). "
            f"Extract its features ({run.command('extract-features --restart')}) "
            f"and train stage 2 again ({run.command('train-llm --restart')})."
        )
    return visual


def load_encoder(
    folder: Path | str,
    *,
    level: str = "sign",
    dtype: str = "float16",
    precision: str = "fp32",
    device: str = "auto",
) -> FrozenEncoder:
    """Loads a trained visual encoder, a function from the frames of a clip, uint8 [T', 3, S, S], to the features [N, C]
    that `extract-features` stores.

    `folder` is a run folder, its `visual/best`, or one of `visual/epochs`; level, dtype and precision are those of the
    config section `features`. Frames are RGB, sampled, resized and cropped as `video` says in the run's config; S is
    `video.size`. Raises InputError for a folder without a finished stage 1, and for invalid values."""
    asked = {"level": level, "dtype": dtype, "precision": precision}
    features = check_config({"features": asked}, "of load_encoder").features
    folder = Path(folder)
    visual = load_visual(folder if (folder / RECORD_FILE).is_file() else folder / "visual" / "best")
    spec = feature_spec(visual, features, AugmentationConfig())
    return frozen_encoder(visual, spec, pick_device(device, precision, "precision"), None)


def differs_from(visual: VisualCheckpoint, spec: FeatureSpec) -> list[str]:
    """Returns `field: encoder x, features y` for every field in which this encoder's features differ from the spec."""
    made = feature_spec(visual, _features_of(spec), AugmentationConfig.model_validate(spec.augmentation or {}))
    return made.differences(spec, here="encoder", there="features")


def _features_of(spec: FeatureSpec) -> FeaturesConfig:
    """Returns the settings of features with this spec."""
    names = ("level", "dtype", "precision", "views")
    return FeaturesConfig.model_validate(
        {**{name: getattr(spec, name) for name in names}, "view_seed": spec.view_seed or 0}
    )


def frozen_encoder(
    visual: VisualCheckpoint, spec: FeatureSpec, device: torch.device, batch_frames: int | None
) -> FrozenEncoder:
    """Makes an encoder for features of this spec, view 0. A CPU always runs in fp32: the same features, more
    precisely."""
    return FrozenEncoder(
        visual.model.encoder,
        level=spec.level,
        dtype=spec.dtype,
        precision="fp32" if device.type == "cpu" else spec.precision or "fp32",
        device=device,
        batch_frames=batch_frames,
        translator=visual.model.translator,
        size=visual.video.size,
    )
