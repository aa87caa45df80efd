"""The spec of the features that an encoder makes: what extraction writes and every reader compares."""

from slt_cache.checkpoints.visual import VisualCheckpoint
from slt_cache.config import FeaturesConfig
from slt_cache.features.spec import FeatureSpec
from slt_cache.models.visual_encoder import BACKBONE_DIM


def feature_spec(checkpoint: VisualCheckpoint, features: FeaturesConfig) -> FeatureSpec:
    """The spec of what this encoder makes with these settings."""
    video, model = checkpoint.video, checkpoint.model
    dims = {
        "frame": BACKBONE_DIM,
        "sign": model.encoder.dim,
        "hidden": model.translator.seq2seq.config.d_model,
    }
    return FeatureSpec(
        encoder_sha256=checkpoint.sha256(features.level),
        level=features.level,
        dim=dims[features.level],
        dtype=features.dtype,
        keep_rate=video.keep_rate,
        resize=video.resize,
        crop=video.size,
        fit=video.fit,
        blank=video.blank,
        mean=video.mean,
        std=video.std,
    )
