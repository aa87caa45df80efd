"""Training steps of stage 2 for measurements: the loop of `train-llm` itself over chosen batches, a step of the bare
LLM, and an LLM of MBart-large's shape."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from transformers import MBartConfig, MBartForConditionalGeneration

from slt_cache.batches.features import FeatureBatch
from slt_cache.config import Config, OptimizerConfig
from slt_cache.encoders.frozen import PRECISIONS
from slt_cache.encoders.packing import step_mask
from slt_cache.files import scratch_folder
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.translators import IGNORED, SignTranslator
from slt_cache.training.loop import train
from slt_cache.training.task import Task, TrainerOptions
from slt_cache.training.tasks.llm import FromCacheTask

VOCABULARY = 2500
"""Tokens of an MBart-large trimmed to a corpus of PHOENIX14T's size."""
MBART_LARGE: Mapping[str, int] = {
    "d_model": 1024,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_attention_heads": 16,
    "decoder_attention_heads": 16,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
    "max_position_embeddings": 1024,
}
"""Sizes from the config.json of facebook/mbart-large-cc25."""


def make_mbart(shape: Mapping[str, Any], vocabulary: int, pad: int = 1, eos: int = 2) -> MBartForConditionalGeneration:
    """Creates an MBart of random weights, which is as fast as a trained one."""
    config = MBartConfig(
        vocab_size=vocabulary, scale_embedding=True, pad_token_id=pad, eos_token_id=eos, bos_token_id=None, **shape
    )
    return MBartForConditionalGeneration(config)


def make_translator(config: Config, dim: int, seq2seq: Any, start: tuple[int, ...]) -> SignTranslator:
    """Assembles the model of stage 2, with LoRA if the settings ask for it."""
    if config.llm.lora is not None:
        add_lora(seq2seq, config.llm.lora)
    return SignTranslator(dim, seq2seq, start, **config.llm_training.dropouts)


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
    """Returns the seconds of forward, loss, backward, clipping and optimizer step of the LLM in plain torch, on random
    tensors of the batch's padded shape; with `adapter` its adapter is included, as in training."""
    model, training, precision = task.model, config.llm_training, config.compute.precision
    mask = step_mask(batch.lengths).long()
    width = batch.features.shape[-1] if adapter else model.seq2seq.config.hidden_size
    padded = torch.randn(*mask.shape, width, device=device)
    tokens, labels = batch.targets.decoder_input_ids, batch.targets.labels
    trained = model if adapter else model.seq2seq
    started = time.perf_counter()
    model.zero_grad()  # the adapter's, too: without `adapter` the optimizer must skip it
    with torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "fp32"):
        embeds = model.adapter(padded) * model.scale if adapter else padded
        logits = model.seq2seq(
            inputs_embeds=embeds, attention_mask=mask, decoder_input_ids=tokens, use_cache=False
        ).logits.float()
    loss = F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=training.label_smoothing
    )
    loss.backward()
    if training.clip_norm is not None:
        nn.utils.clip_grad_norm_(trained.parameters(), training.clip_norm)
    task.progress_steps.step()
    wait_for(device)
    return time.perf_counter() - started


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
