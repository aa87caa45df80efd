"""Training steps of stage 2 for measurements: the loop of `train-llm` itself over chosen batches, alternating with
steps of the bare LLM, and LLMs of the shape of published ones."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedModel

from slt_cache.batches.features import FeatureBatch
from slt_cache.config import Config, LoraConfig, OptimizerConfig
from slt_cache.device import moved
from slt_cache.encoders.frozen import PRECISIONS
from slt_cache.errors import InputError
from slt_cache.files import scratch_folder
from slt_cache.models.llm.load import checkpoint_activations
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.llm.small import make_of_shape
from slt_cache.models.translators import IGNORED, SignTranslator
from slt_cache.text.families import FAMILIES
from slt_cache.training.loop import train
from slt_cache.training.task import Task, TrainerOptions
from slt_cache.training.tasks.llm import FromCacheTask

VOCABULARY = 2500
"""Tokens of an LLM trimmed to a corpus of PHOENIX14T's size."""


@dataclass(frozen=True)
class BenchShape:
    """An LLM of random weights, which is as fast as a trained one."""

    make: Callable[[int], PreTrainedModel]
    """Makes it with a vocabulary of this many tokens."""
    lora: LoraConfig | None = None
    """What is trained unless llm.lora is set; None for the whole LLM."""
    batches: int = 8
    """Batches that are measured by default. A step takes many seconds on a CPU."""


def _make_gemma(vocabulary: int) -> PreTrainedModel:
    """Creates an LLM with the sizes from the config.json of google/gemma-3-270m."""
    config = Gemma3TextConfig(
        vocab_size=vocabulary,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        sliding_window=512,
    )
    return Gemma3ForCausalLM(config)


SHAPES = {
    "mbart-large": BenchShape(partial(make_of_shape, FAMILIES["mbart"], FAMILIES["mbart"].published)),
    "gemma-270m": BenchShape(_make_gemma, LoraConfig(r=16)),
}
"""By the value of --shape."""
RUN = "run"
"""The value of --shape that stands for the run's own LLM."""


def shape_named(name: str) -> BenchShape:
    """Returns the shape. Raises InputError for an unknown one."""
    if name not in SHAPES:
        raise InputError(f"--shape {name}: no such shape. Use {', '.join([RUN, *SHAPES])}.")
    return SHAPES[name]


def with_lora(config: Config, lora: LoraConfig | None) -> Config:
    """Returns the settings with others of LoRA."""
    return config.model_copy(update={"llm": config.llm.model_copy(update={"lora": lora})})


def make_translator(config: Config, dim: int | Sequence[int], seq2seq: Any, start: tuple[int, ...]) -> SignTranslator:
    """Assembles the model of stage 2, with LoRA if the settings ask for it."""
    if config.llm.lora is not None:
        add_lora(seq2seq, config.llm.lora)
    if config.llm_training.checkpointing:
        checkpoint_activations(seq2seq)
    return SignTranslator(dim, seq2seq, start, **config.llm_training.of_translator)


class MeasuredTask(FromCacheTask):
    """Stage 2's own task over the batches that `measure` yields, which can read the clock between them. The weights are
    discarded."""

    progress_steps: Optimizer
    """The loop's optimizer, set when the loop creates it."""

    def __init__(
        self,
        config: Config,
        model: SignTranslator,
        loader: DataLoader[Any],
        measure: Callable[["MeasuredTask"], Iterator[FeatureBatch]],
        batches: int | None = None,
    ):
        """Measures `batches` of an epoch, or all if None."""
        settings = config.llm_training
        super().__init__(
            "bench",
            model,
            loader,
            lr=settings.lr,
            adapter_lr=settings.adapter_lr,
            weight_decay=settings.weight_decay,
            evaluate=dict,
            save_best=lambda epoch, dev: None,
        )
        self.measure = measure
        if batches is not None:
            self.batches_an_epoch = batches  # the loop prefetches no batch that is not measured

    def optimizer(self) -> Optimizer:
        self.progress_steps = super().optimizer()
        return self.progress_steps

    def batches(self, epoch: int, first: int = 0) -> Iterator[FeatureBatch]:
        yield from self.measure(self)
        raise Measured

    def of_the_loader(self) -> Iterator[FeatureBatch]:
        """Yields the batches of the first epoch as training reads them, the same ones each time."""
        return super().batches(1)


class Measured(Exception):
    """Raised to end the loop before it saves unwanted gigabytes."""


def run_loop(task: Task, settings: OptimizerConfig, config: Config, device: torch.device) -> None:
    """Runs the loop of a training with its `settings` until the task raises Measured."""
    model: nn.Module = task.model
    model.to(device)
    settings = settings.model_copy(update={"accumulate": 1})  # each batch is an update, and timed as one
    precision = config.compute.precision
    with scratch_folder() as folder, suppress(Measured):
        train(task, TrainerOptions(settings, config.seed, 1, precision, device, folder, save_seconds=math.inf))


def bare_step(task: MeasuredTask, config: Config, device: torch.device, batch: FeatureBatch, adapter: bool) -> float:
    """Returns the seconds of forward, loss, backward, clipping and optimizer step of the LLM in plain torch, on the
    batch's sign embeddings; with `adapter` these are computed in the step and the adapter is trained, as in
    training."""
    model, training, precision = task.model, config.llm_training, config.compute.precision
    tokens, labels = batch.targets.decoder_input_ids, batch.targets.labels
    trained = model if adapter else model.seq2seq
    autocast = partial(torch.autocast, device.type, PRECISIONS[precision], enabled=precision != "fp32")
    if not adapter:
        with torch.no_grad(), autocast():
            embeds, mask = model.embed(batch.features, batch.lengths)
    wait_for(device)
    started = time.perf_counter()
    model.zero_grad()  # the adapter's, too: without `adapter` the optimizer must skip it
    with autocast():
        if adapter:
            embeds, mask = model.embed(batch.features, batch.lengths)
        logits = _bare_logits(model.seq2seq, embeds, moved(mask, device), tokens).float()
    loss = F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=training.label_smoothing
    )
    loss.backward()
    if training.clip_norm is not None:
        nn.utils.clip_grad_norm_(trained.parameters(), training.clip_norm)
    task.progress_steps.step()
    wait_for(device)
    return time.perf_counter() - started


def _bare_logits(llm: Any, embeds: torch.Tensor, mask: torch.Tensor, tokens: torch.Tensor) -> Any:
    """Returns the logits of the target tokens, [B, L, V], as a plain script would compute them."""
    if llm.config.is_encoder_decoder:
        return llm(inputs_embeds=embeds, attention_mask=mask, decoder_input_ids=tokens, use_cache=False).logits
    embeds = torch.cat([embeds, llm.get_input_embeddings()(tokens)], 1)
    mask = torch.cat([mask, torch.ones_like(tokens)], 1)
    return llm(inputs_embeds=embeds, attention_mask=mask, use_cache=False, logits_to_keep=tokens.shape[1]).logits


@dataclass(frozen=True)
class Pass:
    """Seconds of each kind of step over the same batches."""

    cached: float
    """Updates of the training, from the cache or, for a made-up batch, from memory."""
    bare: float
    """Steps of the LLM alone."""
    adapted: float
    """Steps of the LLM with its adapter."""


def one_pass(
    task: MeasuredTask, config: Config, device: torch.device, source: Iterator[FeatureBatch], batches: int
) -> Generator[FeatureBatch, None, Pass]:
    """Alternates updates of the training and bare steps over the next `batches` of the source, each first every other
    time, so that slow moments of the machine affect both."""
    cached = bare = adapted = 0.0

    def without_cache(batch: FeatureBatch) -> None:
        nonlocal bare, adapted
        bare += bare_step(task, config, device, batch.to(device), adapter=False)
        adapted += bare_step(task, config, device, batch.to(device), adapter=True)

    for number in range(batches):
        begun = time.perf_counter()
        batch = next(source)
        cached += time.perf_counter() - begun
        if number % 2:
            without_cache(batch)
        begun = time.perf_counter()
        yield batch  # resumes when the loop has done its update and asks for the next batch
        wait_for(device)
        cached += time.perf_counter() - begun
        if not number % 2:
            without_cache(batch)
    return Pass(cached, bare, adapted)


def ratios(passes: Sequence[Pass]) -> dict[str, float]:
    """Returns how many times longer an update takes than a bare step: the medians over the passes."""
    return {
        "step_to_bare_llm": round(median(one.cached / one.bare for one in passes), 4),
        "step_to_bare_with_adapter": round(median(one.cached / one.adapted for one in passes), 4),
    }


def wait_for(device: torch.device) -> None:
    """Waits until a GPU has finished its work: the loop itself does not wait for the optimizer's step."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(functions: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Returns the median seconds of each function, called alternately, after a round that warms up."""
    durations: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds + 1):
        for work, seconds in zip(functions, durations, strict=True):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
    return [median(seconds[1:]) for seconds in durations]
