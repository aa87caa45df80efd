"""Time estimates of training steps on this device, from short measurements with random numbers. Accurate within a
factor of two or so, for planning."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from slt_cache.batches.features import FeatureBatch
from slt_cache.batches.targets import Targets
from slt_cache.checkpoints.visual import new_encoder
from slt_cache.config import CROSS_ENTROPY, Config, LoraConfig, TemporalConfig
from slt_cache.device import pick_device
from slt_cache.estimates.workload import Workload
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.llm.small import make_of_shape, make_one_layer, make_small
from slt_cache.models.translators import LIGHT_T_SIZES, SignTranslator, make_light_t
from slt_cache.models.weights import parameters_of
from slt_cache.runs.variants import BASELINE, MODELS, VISUAL, Variant
from slt_cache.text.families import LIGHT_T, is_made_here, likely_family, small_family
from slt_cache.text.sources import local_config
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.base import Outputs, Setup
from slt_cache.training.objectives.model import heads, with_objectives
from slt_cache.training.objectives.registry import OBJECTIVES, of_stage_2
from slt_cache.training.optimizers import AdamW

TRIMMED_VOCABULARY = 2500
"""Approximate vocabulary of an LLM trimmed to PHOENIX14T."""
BATCH = 16
"""Clips per measurement."""
PIXELS = 400_000
"""Pixels per measurement of the backbone."""
ROUNDS = 3
SPECIAL = Tokenizer(SimpleNamespace(pad_token_id=1, eos_token_id=2, mask_token_id=3), None, (2,))
"""Special tokens of measured sentences."""


def seconds_of(action: str, model: str, settings: Config, workload: Workload, rates: "DeviceRates") -> float:
    """Returns the seconds of one step: `action` is that of a plan's Step, `model` one of runs/variants.py."""
    kept = {split: amount.frames * settings.video.keep_rate for split, amount in workload.splits.items()}
    clips = {split: amount.clips for split, amount in workload.splits.items()}
    variant = VISUAL if action == "visual" else MODELS[model]
    translator = rates.translator(*translator_of(settings, variant, action == "pretrain"))
    if action == "pretrain":
        pretraining = settings.llm_pretraining
        updates = workload.sentences / pretraining.batch_size / pretraining.accumulate
        return pretraining.epochs * (workload.sentences * translator.step + updates * translator.update)
    if action == "features":
        return sum(kept.values()) * rates.encoded_frame
    if action == "test":
        reading = kept["test"] * rates.encoded_frame if variant.own_encoder else 0.0
        return reading + clips["test"] * translator.decoding
    loop = settings.visual_training if variant is VISUAL else settings.llm_training
    greedy = translator.decoding / settings.generation.num_beams
    updates = clips["train"] / loop.batch_size / loop.accumulate
    an_epoch = clips["train"] * translator.step + updates * translator.update
    a_dev = clips.get("dev", 0) * greedy
    if variant.trains_encoder != "none":
        whole = variant.trains_encoder == "all"
        an_epoch += kept["train"] * (rates.trained_frame if whole else rates.encoded_frame)
        an_epoch += updates * rates.encoder_update if whole else 0.0
        a_dev += kept.get("dev", 0.0) * rates.encoded_frame
    is_new = variant is BASELINE and settings.features.level != "sign"  # as in train_baseline.py
    epochs = loop.epochs + (settings.visual_training.epochs if is_new else 0)
    return epochs * (an_epoch + a_dev / loop.evaluate_every)


def translator_of(settings: Config, variant: Variant, on_text: bool) -> tuple[str, LoraConfig | None, tuple[str, ...]]:
    """Returns the name of a training's LLM, or the size of its Light-T, its LoRA, and the terms of the loss that run it
    again; `on_text` for pre-training."""
    if not variant.llm:
        terms = settings.visual_training.objective if variant is VISUAL else ()
        return settings.light_t.size, None, _of_translator(terms)
    text = settings.llm_pretraining
    of_text = text.lora if text.adapts else None
    terms = of_stage_2(settings)[1] if variant.from_cache and not on_text else ()
    return settings.llm.name, of_text if on_text else settings.llm.lora, _of_translator(terms)


def _of_translator(terms: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in terms if name != CROSS_ENTROPY and not OBJECTIVES[name].trains_encoder)


@dataclass(frozen=True)
class TranslatorRates:
    """Measured seconds and memory of a translator."""

    step: float
    """Seconds per clip, forward and backward."""
    update: float
    """Seconds per update of the weights."""
    decoding: float
    """Seconds per clip of beam search."""
    parameters: int
    """Number of parameters."""
    trained: int
    """Number of those that are trained: all, or with LoRA its own and the adapter's."""
    saved_bytes: float
    """Bytes per clip kept between forward and backward pass."""


class DeviceRates:
    """Measured times of a device; translators are measured on first use."""

    def __init__(self, config: Config, workload: Workload):
        self.config = config
        self.device = pick_device(config.compute.device, config.compute.precision)
        train = workload.splits["train"]
        self.steps = max(1, round(train.frames / max(train.clips, 1) * config.video.keep_rate))
        self.tokens = max(2, round(workload.tokens))
        self._translators: dict[tuple[str, LoraConfig | None, tuple[str, ...]], TranslatorRates] = {}
        self.trained_frame, self.encoded_frame, self.encoder_update = self._backbone()

    def _backbone(self) -> tuple[float, float, float]:
        """Returns the seconds per kept frame forward and backward, per frame forward, and per update of the weights."""
        size = self.config.video.size
        count = max(8, PIXELS // size**2)
        encoder = new_encoder(self.config.encoder, self.config.video).to(self.device)
        frames = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, device=self.device)
        lengths = torch.tensor([count], device=self.device)
        trained = self._timed(lambda: encoder(frames, lengths).sum().backward())
        update = self._updated(encoder)
        with torch.no_grad():
            encoder.eval()
            encoded = self._timed(lambda: encoder(frames, lengths))
        return trained / count, encoded / count, update

    def translator(self, name: str, lora: LoraConfig | None = None, terms: tuple[str, ...] = ()) -> TranslatorRates:
        """Measures a size of Light-T, or an LLM by its name, with LoRA or whole, and further terms of its loss."""
        if (name, lora, terms) not in self._translators:
            temporal = None if name in LIGHT_T_SIZES else self.config.llm_training.temporal
            seq2seq, layers = _make(name, self.config)
            if lora is not None:
                is_guess = not is_made_here(name) and local_config(name) is None  # its layers may have other names
                add_lora(seq2seq, lora.model_copy(update={"targets": None}) if is_guess else lora)
            self._translators[name, lora, terms] = self._measured(seq2seq, layers, temporal, terms)
        return self._translators[name, lora, terms]

    def _measured(
        self, seq2seq: Any, layers: int, temporal: TemporalConfig | None, terms: tuple[str, ...]
    ) -> TranslatorRates:
        dim = self.config.encoder.dim
        model = SignTranslator(dim, seq2seq, (2,), temporal=temporal).to(self.device)
        features = torch.randn(BATCH * self.steps, dim, device=self.device)  # packed
        lengths = torch.full((BATCH,), self.steps, device=self.device)
        targets = torch.full((BATCH, self.tokens), 5, device=self.device)
        trained = with_objectives(model, (CROSS_ENTROPY, *terms), {}, Setup(model.kind.width, SPECIAL)).to(self.device)
        batch = FeatureBatch(("",) * BATCH, features, lengths, Targets(targets, targets))

        def loss() -> torch.Tensor:
            if trained is model:
                logits: torch.Tensor = model(features, lengths, targets)
                return logits.logsumexp(-1).sum()
            outputs: Outputs = trained(batch)
            return sum((term.value for term in outputs.terms), outputs.logits.logsumexp(-1).sum())

        step = self._timed(lambda: loss().backward())
        update = self._updated(trained)
        saved = _saved_bytes(loss, trained)
        with torch.no_grad():
            reading = self._timed(lambda: model(features, lengths, targets))
        # A search reads once and then writes token by token for each beam; short passes waste some of the device.
        decoding = reading * self.config.generation.num_beams * 1.5
        counts, words = parameters_of(model), model.seq2seq.get_input_embeddings()
        embedded = parameters_of(words)
        own = sum(weight.numel() for weight in heads(trained))
        whole, learned = (
            own + embedded[which] + layers * (counts[which] - embedded[which]) for which in ("all", "trained")
        )
        return TranslatorRates(
            step=layers * step / BATCH,
            update=layers * update,
            decoding=layers * decoding / BATCH,
            parameters=whole,
            trained=learned,
            saved_bytes=layers * saved / BATCH,
        )

    def _updated(self, model: nn.Module) -> float:
        """Returns the seconds of clipping and an optimizer step with the model's gradients."""
        optimizer = AdamW(model.parameters(), lr=0.0)

        def update() -> None:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

        return self._timed(update)

    def _timed(self, work: Callable[[], Any]) -> float:
        """Returns the seconds of the fastest of several rounds, after a warm-up."""
        taken = []
        for _ in range(ROUNDS + 1):
            begun = time.perf_counter()
            work()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            taken.append(time.perf_counter() - begun)
        return min(taken[1:])


def _saved_bytes(forward: Callable[[], torch.Tensor], model: nn.Module) -> int:
    """Returns the bytes that a forward pass keeps for the backward pass, without the weights."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            alive.append(storage)  # or another could get the same address
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(kept.values())


def _make(name: str, config: Config) -> tuple[Any, int]:
    """Makes a model to measure, and returns how many times more layers the real one has. A large LLM is represented by
    one layer of encoder and decoder, in the shape of its family's most used model."""
    if name in (*LIGHT_T_SIZES, LIGHT_T):
        size = config.light_t.size if name == LIGHT_T else name
        return make_light_t(size, TRIMMED_VOCABULARY, 1, 2, config.light_t.dropout), 1
    if small_family(name) is not None:
        return make_small(name, config.llm_pretraining, config.llm_pretraining.vocabulary, 1, 2, 4), 1
    own = local_config(name)
    if own is not None and not own.is_encoder_decoder:
        return make_one_layer(own, TRIMMED_VOCABULARY)
    family = likely_family(name)
    return make_of_shape(family, replace(family.published, layers=1), TRIMMED_VOCABULARY), family.published.layers
