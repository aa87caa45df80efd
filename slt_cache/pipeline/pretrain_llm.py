"""Training of the LLM on text alone, before stage 2: a small LLM from scratch, or the adaptation of a decoder-only
one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch

from slt_cache.batches.denoising import NoisyText
from slt_cache.batches.mixture import mixture_of
from slt_cache.batches.prefix import PrefixBatches
from slt_cache.batches.sampler import Shard
from slt_cache.batches.text import TextBatches
from slt_cache.checkpoints.record import Record, read_record
from slt_cache.checkpoints.translator import save_seq2seq
from slt_cache.config import CAUSAL, PREFIX, WHOLE_LR, LlmPretrainingConfig, differences
from slt_cache.corpora.base import Clip, of_split
from slt_cache.corpora.monolingual import Line
from slt_cache.corpora.registry import language_code
from slt_cache.distributed.processes import join, main_process_first, rank, size
from slt_cache.errors import InputError
from slt_cache.metrics.loss import LOSS
from slt_cache.models.llm.load import load_seq2seq, read_config
from slt_cache.models.llm.lora import add_lora, merged
from slt_cache.models.llm.small import make_small
from slt_cache.pipeline.fits_llm import positions_of
from slt_cache.pipeline.llm_tokenizer import (
    content_name,
    ensure_llm,
    pretraining_lines,
    sha256_of,
    shared_tokenizer,
)
from slt_cache.pipeline.longer import require_begun
from slt_cache.pipeline.resources import require_resources
from slt_cache.pipeline.run_stage import run_stage
from slt_cache.pipeline.stages import Stage
from slt_cache.runs.derived import Derived
from slt_cache.runs.outdated import log_outdated_by_pretraining
from slt_cache.runs.run import Run
from slt_cache.runs.unfinished import BEST
from slt_cache.runs.variants import PRETRAINING
from slt_cache.text.families import is_decoder_only, small_family, small_names, small_positions
from slt_cache.text.pretrained import loading
from slt_cache.text.prompt import has_prompt
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from slt_cache.training.tasks.causal import CausalTask
from slt_cache.training.tasks.denoising import DenoisingTask

HIGH = 10
"""Multiple of the usual learning rate from which a warning is logged."""
UNNAMED = "small-mbart"
"""Name of the small LLM in records that do not name it, since it was once the only one."""


def pretrain(run: Run, clips: Sequence[Clip], restart: bool = False) -> Record:
    """Pre-trains the small MBart or mT5, or adapts a decoder-only LLM, into `llm/pretrained/best`, a `from_pretrained`
    folder. Raises InputError for an LLM of which the settings allow neither."""
    require_pretrainable(run)
    require_resources(run, run.config.llm_pretraining)
    require_begun(run, run.pretrained, run.command("llm pretrain"))
    join()
    with Derived(run, run.command("llm pretrain"), restart) as derived:
        tokenizer = shared_tokenizer(run, clips, derived, saves=True)
        record = run_stage(_stage(run, clips, tokenizer, derived), restart)
    log_outdated_by_pretraining(run)
    return record


def ensure_pretrained(run: Run, clips: Sequence[Clip], tokenizer: Tokenizer, derived: Derived) -> Record:
    """Pre-trains the LLM if needed; again for a restarted stage, if its text or settings have changed."""
    require_pretrainable(run)
    made, stage = read_record(run.pretrained / BEST), _stage(run, clips, tokenizer, derived)
    outdated = made is not None and bool(differences(made.settings, stage.settings))
    return run_stage(stage, restart=derived.restart and outdated)


def require_pretrainable(run: Run) -> None:
    """Raises InputError unless the LLM is a small one or, to be adapted, decoder-only."""
    llm, adapts = run.config.llm, run.config.llm_pretraining.adapts
    name = llm.source
    if llm.init_from is not None:
        raise InputError(
            f"llm.init_from {name}: only {' and '.join(small_names())} are pre-trained here. Set llm.name to one of "
            "them, and no llm.init_from."
        )
    small = small_family(name) is not None
    if not adapts:
        if not small:
            raise InputError(
                f"llm.name {name}: only {' and '.join(small_names())} are pre-trained here. Set it to one of them, "
                f"or adapt a decoder-only LLM: --set llm_pretraining.objective={CAUSAL}, or {PREFIX}."
            )
        return
    if not small:
        with loading(name):
            small = not is_decoder_only(name, read_config(name))
    if small:
        raise InputError(
            f"llm_pretraining.objective {run.config.llm_pretraining.objective}: {name} is an encoder-decoder, which "
            "does not learn as a language model. Set llm.name to a decoder-only LLM, or leave the objective out."
        )


def new_small_llm(name: str, shape: LlmPretrainingConfig, tokenizer: Tokenizer) -> Any:
    """Makes a small LLM with fresh weights, a PreTrainedModel."""
    return make_small(name, shape, len(tokenizer), tokenizer.pad, tokenizer.eos, tokenizer.language_code())


def _stage(run: Run, clips: Sequence[Clip], tokenizer: Tokenizer, derived: Derived) -> "PretrainingStage":
    """Returns the stage, whose run has the seed of the pre-training. A decoder-only LLM keeps the tokens of its prompt,
    too."""
    seed = run.config.llm_pretraining.seed
    config = run.config if seed is None else run.config.model_copy(update={"seed": seed})
    seeded = replace(run, config=config, lasting=run.lasting or run.config)
    sentences = pretraining_lines(run, clips)
    if not run.config.llm_pretraining.adapts:
        return DenoisingStage(seeded, PRETRAINING, derived, sentences, tokenizer)
    llm = main_process_first(lambda: ensure_llm(run, clips, derived, has_prompt(run.config.llm)))
    language = language_code(run.config)
    inner = load_tokenizer(llm, language)
    tokenizer = Tokenizer(inner.inner, language, inner.start)  # text alone begins alike in every language
    dev = tuple(clip.text for clip in of_split(clips, "dev"))
    return CausalStage(seeded, PRETRAINING, derived, sentences, tokenizer, llm, dev)


@dataclass(frozen=True)
class PretrainingStage(Stage):
    """A training on sentences alone."""

    lines: Sequence[Line]
    tokenizer: Tokenizer

    @cached_property
    def sentences(self) -> list[str]:
        return [line.text for line in self.lines]

    @property
    def languages(self) -> list[str]:
        """Language of each sentence."""
        return [line.language for line in self.lines]

    @property
    def loop(self) -> LlmPretrainingConfig:
        return self.run.config.llm_pretraining

    @cached_property
    def settings(self) -> dict[str, Any]:
        name = self.llm_name
        return {
            "seed": self.run.config.seed,
            "llm_pretraining": self.loop.recorded(),
            "language": language_code(self.run.config),
            "text_sha256": sha256_of(self.sentences),
            "tokenizer_sha256": self.tokenizer.sha256,
            **({} if name == UNNAMED else {"name": name}),
            **({"languages_sha256": sha256_of(self.languages)} if any(self.languages) else {}),
        }

    @property
    def llm_name(self) -> str:
        """Returns how records identify the LLM."""
        return self.run.config.llm.name

    @property
    def shard(self) -> Shard:
        """This process's part of every batch."""
        return Shard(rank(), size())

    def save_best(self, model: Any, epoch: int, dev: dict[str, float]) -> None:
        save_seq2seq(self.unfinished.best, model, self.tokenizer, self.record_of(epoch, dev))


@dataclass(frozen=True)
class DenoisingStage(PretrainingStage):
    """The small MBart or mT5 learns to restore sentences."""

    @property
    def evaluate_every(self) -> int:
        return self.loop.epochs

    def make_task(self, device: torch.device) -> DenoisingTask:
        loop = self.loop
        model = new_small_llm(self.llm_name, loop, self.tokenizer)
        text = NoisyText(
            self.sentences,
            self.tokenizer,
            batch_size=loop.batch_size,
            seed=self.run.config.seed,
            mask_ratio=loop.mask_ratio,
            span_mean=loop.span_mean,
            permute_sentences=loop.permute_sentences,
            shard=self.shard,
            languages=self.languages,
            temperature=loop.temperature,
        )
        if (positions := small_positions(self.llm_name)) is not None:
            text.require_positions(positions)
        return DenoisingTask(model, text, loop, partial(self.save_best, model))


@dataclass(frozen=True)
class CausalStage(PretrainingStage):
    """A decoder-only LLM is adapted to the sentences, alone or each after some of its words."""

    llm: str
    """Folder or hub name of the LLM with the vocabulary that it keeps."""
    dev: Sequence[str]

    @property
    def loop(self) -> LlmPretrainingConfig:
        return super().loop.model_copy(update={"select_by": LOSS.key})

    @property
    def evaluate_every(self) -> int:
        return 1

    @property
    def llm_name(self) -> str:
        return content_name(self.run)

    def make_task(self, device: torch.device) -> CausalTask:
        loop = self.loop
        model = load_seq2seq(self.llm, tokenizer=self.tokenizer)
        if loop.lora is not None:
            add_lora(model, loop.lora)
        seed = self.run.config.seed
        batches: Callable[..., TextBatches] = partial(TextBatches, batch_size=loop.batch_size)
        if loop.objective == PREFIX:
            batches = partial(PrefixBatches, batch_size=loop.batch_size, omitted=loop.mask_ratio)
        mixture = mixture_of(self.languages, loop.temperature, seed)
        text = batches(self.sentences, self.tokenizer, seed=seed, shard=self.shard, mixture=mixture)
        text.require_positions(positions_of(self.llm))
        dev = batches(self.dev, self.tokenizer, shuffle=False) if self.dev else None
        return CausalTask(model, text, dev, loop, partial(self.save_best, model))

    def initialize(self, model: Any) -> list[str]:
        loop = self.loop
        if loop.lora is not None or loop.lr < HIGH * WHOLE_LR:
            return []
        return [
            f"llm_pretraining.lr {loop.lr:g} is high for a pre-trained LLM that is trained whole, which may forget its "
            f"language: {WHOLE_LR:g} is usual"
        ]

    def save_best(self, model: Any, epoch: int, dev: dict[str, float]) -> None:
        super().save_best(model if self.loop.lora is None else merged(model), epoch, dev)
