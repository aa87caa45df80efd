"""Settings that every training has."""

from typing import Annotated, Any

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from slt_cache.config.section import Probability, Section


class OptimizerConfig(Section):
    """What both stages and the pre-training share."""

    epochs: PositiveInt
    """Times that every clip (or sentence) is trained on, unless patience ends the training before."""
    batch_size: PositiveInt
    """Clips in a batch."""
    accumulate: PositiveInt = 1
    """Batches whose gradients are summed before an update, where one of all their clips is too large for the memory;
    every target token counts the same."""
    lr: PositiveFloat
    """Peak learning rate."""
    warmup_steps: NonNegativeInt = 0
    """Updates in which the learning rate rises from 0; then a cosine to 0."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Of the optimizer."""
    clip_norm: PositiveFloat | None = None
    """Gradients are scaled down to this norm; null for never."""
    label_smoothing: Probability = 0.2
    """(paper, 4.2 and 4.3)"""
    patience: PositiveInt | None = None
    """Evaluations without a better dev BLEU-4 before training stops; null for never."""

    def recorded(self) -> dict[str, Any]:
        """As training records hold it. What they did not always have is left out where it is off: those that were
        written before are still of the same settings."""
        settings = self.model_dump(mode="json")
        if self.accumulate == 1:
            del settings["accumulate"]
        return settings
