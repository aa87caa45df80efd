"""Settings that all trainings share."""

from typing import Annotated, Any, ClassVar

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from slt_cache.config.section import Probability, Section

BLEU4 = "bleu4"


class OptimizerConfig(Section):
    """Settings that both stages and the pre-training share."""

    epochs: PositiveInt
    """Passes over all clips (or sentences), unless `patience` stops training earlier."""
    batch_size: PositiveInt
    """Clips per batch."""
    accumulate: PositiveInt = 1
    """Batches per optimizer step, for when one batch of all their clips does not fit into memory; gradients are
    weighted so that every target token counts the same."""
    lr: PositiveFloat
    """Peak learning rate."""
    warmup_steps: NonNegativeInt = 0
    """Optimizer steps over which the learning rate rises linearly from 0, before the cosine decay to 0."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight decay of the optimizer."""
    clip_norm: PositiveFloat | None = None
    """Largest gradient norm; larger gradients are scaled down to it. null: no clipping."""
    label_smoothing: Probability = 0.2
    """Label smoothing of the cross-entropy (paper, 4.2 and 4.3)."""
    label_smoothing_end: Probability | None = None
    """Label smoothing at the end of all epochs, which it approaches linearly, step by step; null: the same
    throughout."""
    ema: Probability = 0.0
    """Share of an exponential moving average of the weights that stays in each optimizer step, such as 0.999, at most
    (1 + n) / (10 + n) in step n. Dev scores and the weights that are kept are then those of the average. 0: no
    average."""
    select_by: str = BLEU4
    """Dev metric that selects the best weights: bleu1, bleu2, bleu3, bleu4, chrf, rouge_l (ROUGE-L F1), rouge_l_beta12
    (ROUGE-L F1.2) or ter. `training.select_by` sets it for both stages; pre-training has no dev split."""
    temperature: Annotated[float, Field(ge=1.0)] | None = None
    """Temperature T by which an epoch draws clips (or sentences) of several corpora and languages: one with n clips has
    a share proportional to n^(1/T), so that small ones occur more often; 5 is usual. null or 1: every clip once.
    `training.temperature` sets it for both stages."""
    patience: PositiveInt | None = None
    """Evaluations without a better dev score (`select_by`) before training stops; null: never."""

    later: ClassVar[tuple[str, ...]] = ("accumulate", "select_by", "label_smoothing_end", "ema", "temperature")
    """Fields that were added later."""

    def recorded(self) -> dict[str, Any]:
        """Returns the settings as training records hold them. Fields that were added later are omitted at their
        default, so older records still compare equal."""
        changed = self.model_dump(mode="json", exclude_defaults=True)
        return {
            key: value for key, value in self.model_dump(mode="json").items() if key not in self.later or key in changed
        }
