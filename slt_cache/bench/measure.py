"""Training steps of stage 2 to be measured: the loop of `train-llm` itself, over batches that the measurement
chooses; the bare LLM's step beside it; and an LLM of MBart-large's shape to take them with."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from transformers import MBartConfig, MBartForConditionalGeneration

from slt_cache.batches.features import FeatureBatch
from slt_cache.config import Config
from slt_cache.encoders.frozen import PRECISIONS
from slt_cache.encoders.packing import step_mask
from slt_cache.files import scratch_folder
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.translators import IGNORED, SignTranslator
from slt_cache.training.loop import train
from slt_cache.training.task import TrainerOptions
from slt_cache.training.tasks.llm import FromCacheTask

VOCABULARY = 2500
"""Pieces of an MBart-large trimmed to a corpus of PHOENIX14T's size."""
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
"""As facebook/mbart-large-cc25's config.json has it."""


def make_mbart(shape: Mapping[str, Any], vocabulary: int, pad: int = 1, eos: int = 2) -> MBartForConditionalGeneration:
    """Of random weights: what it computes takes no longer for being useful."""
    config = MBartConfig(
        vocab_size=vocabulary, scale_embedding=True, pad_token_id=pad, eos_token_id=eos, bos_token_id=None, **shape
    )
    return MBartForConditionalGeneration(config)


def make_translator(config: Config, dim: int, seq2seq: Any, start: tuple[int, ...]) -> SignTranslator:
    """As stage 2 puts it together, with LoRA where the settings ask for it."""
    if config.llm.lora is not None:
        add_lora(seq2seq, config.llm.lora)
    return SignTranslator(dim, seq2seq, start, **config.llm_training.dropouts)


class MeasuredTask(FromCacheTask):
    """Stage 2's own task, but for its batches: those that `measure` yields, which may look at the clock between them.
    The weights are thrown away."""

    progress_steps: Optimizer
    """The loop's optimizer, once it has asked for it."""

    def __init__(
        self,
        config: Config,
        model: SignTranslator,
        loader: DataLoader[Any],
        measure: Callable[["MeasuredTask"], Iterator[FeatureBatch]],
        batches: int | None = None,
    ):
        """`batches` of an epoch are measured, all where it is None."""
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
            self.batches_an_epoch = batches  # several are read at once, and none that is not measured

    def optimizer(self) -> Optimizer:
        self.progress_steps = super().optimizer()
        return self.progress_steps

    def batches(self, epoch: int, first: int = 0) -> Iterator[FeatureBatch]:
        yield from self.measure(self)
        raise _Measured

    def of_the_loader(self) -> Iterator[FeatureBatch]:
        """The batches of its first epoch, as training reads them; each time the same."""
        return super().batches(1)


class _Measured(Exception):
    """Ends the loop before it saves gigabytes that nobody wants."""


def run_loop(task: MeasuredTask, config: Config, device: torch.device) -> None:
    """The loop of `train-llm`, until the measurement has seen enough."""
    model: nn.Module = task.model
    model.to(device)
    settings = config.llm_training.model_copy(update={"accumulate": 1})  # each batch is an update, and timed as one
    precision = config.compute.precision
    with scratch_folder() as folder, suppress(_Measured):
        train(task, TrainerOptions(settings, config.seed, 1, precision, device, folder, save_seconds=math.inf))


def bare_step(task: MeasuredTask, config: Config, device: torch.device, batch: FeatureBatch, adapter: bool) -> float:
    """Seconds of forward, loss, backward, clipping and the optimizer's step of the LLM, in plain torch, over tensors of
    the batch's padded shape that are in memory; with `adapter` it stands before the LLM, as it must in training."""
    model, training, precision = task.model, config.llm_training, config.compute.precision
    mask = step_mask(batch.lengths).long()
    width = batch.features.shape[-1] if adapter else model.seq2seq.config.hidden_size
    padded = torch.randn(*mask.shape, width, device=device)
    tokens, labels = batch.targets.decoder_input_ids, batch.targets.labels
    learning = model if adapter else model.seq2seq
    begun = time.perf_counter()
    model.zero_grad()  # the adapter's too: where it stands aside the optimizer must pass it over
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
        nn.utils.clip_grad_norm_(learning.parameters(), training.clip_norm)
    task.progress_steps.step()
    wait_for(device)
    return time.perf_counter() - begun


def wait_for(device: torch.device) -> None:
    """Until a GPU has done what it was given: the loop need not wait for the optimizer's step."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
