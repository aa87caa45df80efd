"""Settings that every training has."""

from typing import Annotated, Any

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from slt_cache.config.section import Probability, Section

BLEU4 = "bleu4"


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
    select_by: str = BLEU4
    """The metric on dev that decides which weights are the best: bleu1, bleu2, bleu3, bleu4, chrf, rouge_l,
    rouge_l_beta12 or ter. `training.select_by` sets it for both stages; pre-training has no dev split."""
    patience: PositiveInt | None = None
    """Evaluations without a better dev score (`select_by`) before training stops; null for never."""

    def recorded(self) -> dict[str, Any]:
        """Returns the settings as training records hold them. Fields that were added later are omitted at their
        default, so older records still compare equal."""
        later = {"accumulate": 1, "select_by": BLEU4}
        return {key: value for key, value in self.model_dump(mode="json").items() if (key, value) not in later.items()}
