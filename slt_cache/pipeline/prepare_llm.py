"""The LLM of stage 2, ready to be trained: loaded or made, trimmed and pre-trained as the settings say."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from slt_cache.checkpoints.visual import new_light_t
from slt_cache.config import LoraConfig
from slt_cache.corpora.base import Clip
from slt_cache.corpora.registry import language_code
from slt_cache.distributed.processes import main_process_first
from slt_cache.models.llm.load import checkpoint_activations, load_seq2seq
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.translators import SignTranslator
from slt_cache.pipeline.init_llm import (
    InitialTranslator,
    begun_in,
    ensure_initial,
    initial_translator,
    unknown_characters,
)
from slt_cache.pipeline.llm_tokenizer import content_name, ensure_llm, shared_tokenizer
from slt_cache.pipeline.pretrain_llm import ensure_pretrained, new_small_llm
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run
from slt_cache.runs.variants import Variant
from slt_cache.text.families import LIGHT_T, small_family
from slt_cache.text.prompt import has_prompt, require_language_in, with_prompt
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Llm:
    """LLM of the run, made when a training needs it."""

    tokenizer: Tokenizer
    made_of: dict[str, Any]
    """Origin of the LLM, for the record."""
    make_whole: Callable[[], Any]
    """Function that makes the LLM, a PreTrainedModel."""
    lora: LoraConfig | None
    checkpointing: bool
    """Whether activations are recomputed (llm_training.checkpointing)."""
    initial: InitialTranslator | None = None
    """The translator that it comes from (llm.init_from)."""

    def make(self) -> Any:
        """Makes the LLM, a PreTrainedModel, with LoRA if the settings say so."""
        seq2seq = self.make_whole()
        if self.lora is not None:
            add_lora(seq2seq, self.lora)
        if self.checkpointing:
            checkpoint_activations(seq2seq)
        return seq2seq

    def translator(self, dim: int | Sequence[int], **settings: Any) -> SignTranslator:
        """Makes the translator of the LLM and an adapter for features of `dim` channels, or for streams of that many
        each, fresh or from `initial`."""
        own = self.tokenizer
        model = SignTranslator(dim, self.make(), own.start, before=own.before, prefixes=own.prefixes, **settings)
        return model if self.initial is None else self.initial.load_into(model)

    def begins(self, sentences: Iterable[str]) -> list[str]:
        """Returns lines that say what comes from `initial`, and which characters of the sentences it does not know."""
        if self.initial is None:
            return []
        return [self.initial.summary, *unknown_characters(self.tokenizer, sentences)]


def llm_of(
    run: Run,
    clips: Sequence[Clip],
    derived: Derived,
    *,
    dim: int | Sequence[int],
    streams: Sequence[str] = (),
    variant: Variant,
    check: Callable[[Tokenizer], None] | None = None,
) -> Llm:
    """Returns the run's LLM for features of `dim` channels, or for these `streams`, trimming or pre-training it if
    needed. `variant` is what is trained with it; `check` refuses what does not fit the tokenizer, before an LLM is
    pre-trained."""
    initial = None
    if run.config.llm.init_from is not None:
        folder = main_process_first(lambda: ensure_initial(run, derived))
        begun = None if derived.restart else begun_in(run, variant, folder)
        initial = initial_translator(run.config, folder, dim, streams, begun)
    tokenizer = shared_tokenizer(run, clips, derived, saves=variant.makes is not None)
    if initial is not None:
        tokenizer = initial.tokenizer
    elif has_prompt(run.config.llm):
        named = main_process_first(lambda: ensure_llm(run, clips, derived, prompted=True))
        tokenizer = with_prompt(load_tokenizer(named, language_code(run.config)), run.config.llm)
    require_language_in(run.config.llm, tokenizer)
    if check is not None:
        check(tokenizer)
    made_of, make = _whole_llm(run, clips, tokenizer, derived, initial)
    return Llm(tokenizer, made_of, make, run.config.llm.lora, run.config.llm_training.checkpointing, initial)


def _whole_llm(
    run: Run, clips: Sequence[Clip], tokenizer: Tokenizer, derived: Derived, initial: InitialTranslator | None
) -> tuple[dict[str, Any], Callable[[], Any]]:
    llm, dropout = run.config.llm, run.config.llm_training.dropout
    types = {"dtype": getattr(torch, llm.dtype), "quantize": llm.quantize}
    load = partial(load_seq2seq, dropout=dropout, tokenizer=tokenizer, **types)
    named = {"name": content_name(run)} if initial is None else initial.recorded
    settings: dict[str, Any] = {"llm": {**llm.recorded(), **named}}
    if llm.source == LIGHT_T:
        light_t = run.config.light_t if dropout is None else run.config.light_t.model_copy(update={"dropout": dropout})
        return {**settings, "light_t": light_t.model_dump()}, partial(new_light_t, light_t, tokenizer)
    is_small = small_family(llm.source) is not None
    name = "" if is_small else ensure_llm(run, clips, derived, has_prompt(llm))
    if run.pretrains_llm:
        if llm.lora is not None:  # wrong targets should not cost a pre-training
            shape = run.config.llm_pretraining
            add_lora(new_small_llm(llm.name, shape, tokenizer) if is_small else load_seq2seq(name, False), llm.lora)
        settings["pretraining"] = ensure_pretrained(replace(run, on_the_way=True), clips, tokenizer, derived).settings
        return settings, partial(load, str(run.pretrained / "best"))
    if not is_small:
        return settings, partial(load, name, llm.pretrained)
    shape = run.config.llm_pretraining
    settings["pretraining"] = shape.model_dump(include={"layers", "heads", "hidden", "feed_forward", "dropout"})
    if dropout is not None:
        shape = shape.model_copy(update={"dropout": dropout})
    return settings, partial(new_small_llm, llm.name, shape, tokenizer)
