"""Terms of a training's loss by name: `visual_training.objective`, `llm_training.objective`.

To add one, add a file with a subclass of `Objective` (base.py) and a row here. Knows no torch, so that settings are
checked quickly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from slt_cache.config import CROSS_ENTROPY, Config, LlmTrainingConfig, VisualTrainingConfig
from slt_cache.config.llm import LIGHT_T
from slt_cache.errors import InputError
from slt_cache.text.families import is_decoder_only, is_made_here
from slt_cache.text.sources import local_config

if TYPE_CHECKING:
    from slt_cache.training.objectives.base import Objective, Setup


@dataclass(frozen=True)
class Row:
    file: str
    """Module of this package and class in it, `module.Class`; empty for the translator's own loss."""
    weight: float = 1.0
    """Default weight of the term; `objective_weights` sets another."""
    trains_encoder: bool = False
    """Whether it depends on frame-wise features alone, and so has no gradient if the backbone is frozen."""
    compares: bool = False
    """Whether it compares the clips of a batch, and so has no gradient for a single one."""


OBJECTIVES: Mapping[str, Row] = {
    CROSS_ENTROPY: Row(""),  # models/translators.py: token_loss (Chen et al. 2024, 4.2)
    "contrastive": Row("contrastive.Contrastive", compares=True),
    "cico": Row("cico.FineGrained", compares=True),
    "signcl": Row("signcl.SignContrast", weight=0.01, trains_encoder=True),
    "denoising": Row("denoising.Denoising"),
}


def require_gradient(names: Sequence[str], setting: str, batch_size: int, frozen: bool) -> None:
    """Raises InputError for terms without gradient in a training, whose backbone may be `frozen`, as it is on cached
    features; `setting` names the terms."""
    alone = [name for name in names if OBJECTIVES[name].compares and batch_size == 1]
    if alone:
        raise InputError(
            f"{setting} {', '.join(alone)}: compares the clips of a batch, but batch_size is 1. Use larger batches "
            "(accumulated ones do not count)."
        )
    dead = [name for name in names if OBJECTIVES[name].trains_encoder and frozen]
    if dead:
        left = [name for name in OBJECTIVES if not OBJECTIVES[name].trains_encoder]
        raise InputError(
            f"{setting} {', '.join(dead)}: shapes the backbone, which does not learn in this training, so it would "
            f"change nothing. Train the backbone with it first, in stage 1, and set llm_training.objective to some of "
            f"{', '.join(left)}."
        )


def is_plain(names: Sequence[str], weights: Mapping[str, float]) -> bool:
    """Returns whether a loss is the cross-entropy alone, as it is."""
    return tuple(names) == (CROSS_ENTROPY,) and not weights


def require_sentence_encoder(names: Sequence[str], weights: Mapping[str, float], source: str) -> None:
    """Raises InputError for terms of the LLM `source` if its config on this machine says that it is decoder-only."""
    config = None if is_made_here(source) else local_config(source)
    if not is_plain(names, weights) and config is not None and is_decoder_only(source, config):
        raise without_sentence_encoder(names)


def without_sentence_encoder(names: Sequence[str]) -> InputError:
    """Returns the error of terms of a decoder-only LLM."""
    return InputError(
        f"llm_training.objective {', '.join(names)}: a decoder-only LLM has no encoder for sentences, and learns from "
        "the plain cross-entropy. Omit llm_training.objective and objective_weights, or use an encoder-decoder."
    )


def of_stage_2(config: Config) -> tuple[str, tuple[str, ...], Mapping[str, float]]:
    """Returns the setting that says the terms of a training from the cache, the terms, and weights of some: a Light-T
    has those of stage 1 unless others are set."""
    own, first = config.llm_training, config.visual_training
    inherits = own.objective is None and config.llm.source == LIGHT_T
    loop: VisualTrainingConfig | LlmTrainingConfig = first if inherits else own
    setting = f"{'visual' if inherits else 'llm'}_training.objective"
    return setting, loop.objective or (CROSS_ENTROPY,), loop.objective_weights


def make_objectives(names: Sequence[str], setup: "Setup") -> "dict[str, Objective]":
    """Makes the terms besides the cross-entropy, with fresh weights. Raises InputError for one that the tokenizer does
    not allow."""
    made = {}
    for name in names:
        if OBJECTIVES[name].file:
            module, _, kind = OBJECTIVES[name].file.partition(".")
            made[name] = getattr(import_module(f"{__package__}.{module}"), kind)(setup)
    return made


def weight_of(name: str, weights: Mapping[str, float]) -> float:
    """Returns the weight of a term: that in the settings, or its default."""
    return weights.get(name, OBJECTIVES[name].weight)
