"""Nothing is left on the CPU: trainings, features, search and attention on a device that refuses it (elsewhere.py). And
trainings and features do not wait for the device, but for the loss of each batch."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn, optim
from torch.nn.utils.rnn import pad_sequence

from slt_cache.batches.clips import ClipBatch
from slt_cache.batches.denoising import NoisyText
from slt_cache.batches.features import FeatureBatch
from slt_cache.batches.targets import make_targets
from slt_cache.config import GenerationConfig, LlmPretrainingConfig, LoraConfig, OptimizerConfig, TemporalConfig
from slt_cache.corpora.base import Clip
from slt_cache.decoding.attention import word_attention
from slt_cache.decoding.encode import EncodedClip, encode
from slt_cache.decoding.search import decode
from slt_cache.device import Readback
from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.encoders.packing import packed
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.lora import add_lora
from slt_cache.models.llm.small import make_small
from slt_cache.models.time_masks import TimeMasks
from slt_cache.models.translators import SignTranslator, VisualTranslator, make_light_t
from slt_cache.text.target_start import LanguagePrefix
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from slt_cache.training.objectives.base import Setup
from slt_cache.training.objectives.model import with_objectives
from slt_cache.training.objectives.registry import OBJECTIVES
from slt_cache.training.step import TrainStep
from slt_cache.training.sync import MicroBatches
from slt_cache.training.task import TrainerOptions
from slt_cache.training.tasks.denoising import DenoisingTask
from slt_cache.training.tasks.llm import FromCacheTask
from slt_cache.training.tasks.visual import FromPixelsTask
from slt_cache.video.chunks import ClipEnd
from tests.conftest import TINY_MBART
from tests.helpers.elsewhere import Far, WaitedFor, device_elsewhere, never_waited_for, values
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import make_small_llm

CPU = torch.device("cpu")
DIM, SIZE = 8, 32
LENGTHS = (7, 2, 4)
SENTENCES = ("guten abend", "morgen regnet es", "im norden scheint die sonne")


def nothing(*_: Any) -> None:
    pass


def features_of(lengths: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(sum(lengths), DIM, generator=torch.Generator().manual_seed(1))


def padded_features() -> torch.Tensor:
    return pad_sequence(features_of(LENGTHS).split(LENGTHS), batch_first=True)


def frames_of(count: int) -> torch.Tensor:
    return torch.randint(0, 255, (count, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(2)).to(torch.uint8)


def targets_of(tokenizer: Tokenizer) -> Any:
    return make_targets([tokenizer.encode(sentence) for sentence in SENTENCES], tokenizer)


@pytest.fixture(scope="module")
def llms(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> dict[str, tuple[Any, Tokenizer]]:
    torch.manual_seed(0)
    ids = (len(tokenizer), tokenizer.pad, tokenizer.eos)
    found: dict[str, tuple[Any, Tokenizer]] = {
        "small mbart": (make_small("small-mbart", TINY_MBART, *ids, tokenizer.language_code()), tokenizer),
        "light-t": (make_light_t("tiny", *ids, dropout=0.1), tokenizer),
    }
    for family, language in {"mt5": None, "nllb": "deu_Latn", "bart": None}.items():
        folder = tmp_path_factory.mktemp("llms") / family
        make_small_llm(family, folder)
        found[family] = (load_seq2seq(str(folder)), load_tokenizer(str(folder), language))
    return found


FAMILIES = ("small mbart", "light-t", "mt5", "nllb", "bart")


def translator_of(llm: tuple[Any, Tokenizer]) -> SignTranslator:
    torch.manual_seed(3)
    seq2seq, tokenizer = llm
    dropouts: dict[str, Any] = {"feature_dropout": 0.1, "step_dropout": 0.2, "channel_dropout": 0.2}
    return SignTranslator(DIM, deepcopy(seq2seq), tokenizer.start, **dropouts)


def visual_of(llm: tuple[Any, Tokenizer]) -> VisualTranslator:
    translator = translator_of(llm)
    return VisualTranslator(VisualEncoder("resnet18", DIM, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), translator)


def from_cache(model: SignTranslator, tokenizer: Tokenizer) -> tuple[Any, Any]:
    batch = FeatureBatch(("a", "b", "c"), padded_features(), torch.tensor(LENGTHS), targets_of(tokenizer))
    loader: Any = [batch]
    rates = {"lr": 1e-3, "adapter_lr": 1e-2, "weight_decay": 0.01}
    return FromCacheTask("stage 2", model, loader, **rates, evaluate=dict, save_best=nothing), batch


def from_pixels(model: Any, tokenizer: Tokenizer) -> tuple[Any, Any]:
    batch = ClipBatch(("a", "b", "c"), frames_of(sum(LENGTHS)), torch.tensor(LENGTHS), targets_of(tokenizer))
    loader: Any = [batch]
    return FromPixelsTask("stage 1", model, loader, lambda: sgd(model.parameters()), dict, nothing), batch


def sgd(weights: Any, lr: float = 1e-3, **_: Any) -> optim.Optimizer:
    """In place of Adam, which makes much of the rounding of gradients that should be zero."""
    return optim.SGD(weights, lr, momentum=0.9)


def updated(make: Callable[[], tuple[Any, Any]], device: torch.device, folder: Path) -> tuple[Any, dict[str, Any]]:
    """What the second of two updates tells, and the weights behind it."""
    options = TrainerOptions(
        OptimizerConfig(epochs=1, batch_size=3, lr=1e-3, clip_norm=1.0), 0, 1, "fp32", device, folder
    )
    with pytest.MonkeyPatch.context() as patch:
        # accelerate and the fused optimizers know only the devices that torch has kernels for.
        patch.setattr("slt_cache.training.step.Accelerator.device", property(lambda _: device))
        for module in ("llm", "denoising"):
            patch.setattr(f"slt_cache.training.tasks.{module}.AdamW", sgd)
        task, batch = make()
        model: nn.Module = task.model.to(device)
        train_step = TrainStep(task, options)
        patch.setattr("slt_cache.training.step.Readback", Waiting)
        Waiting.count = 0
        torch.manual_seed(4)
        model.train()
        group = MicroBatches([batch], batch.targets.tokens, save=False, clips=batch.targets.clips)
        with never_waited_for():
            train_step(group, {})
        assert Waiting.count == 1
        told = train_step(group, task.last_layers())
    assert all(weight.device == device for weight in model.parameters())
    return told, values(model)


class Waiting(Readback):
    """Loss of a batch, the only number that a step waits for."""

    count = 0

    def __init__(self, tensor: torch.Tensor):
        Waiting.count += 1
        with never_waited_for(False):
            super().__init__(tensor)


def assert_updates_agree(make: Callable[[], tuple[Any, Any]], folder: Path) -> None:
    here, weights = updated(make, CPU, folder)
    with device_elsewhere() as device:
        there, moved = updated(make, device, folder)
    assert there.loss == pytest.approx(here.loss, rel=1e-5)
    assert there.norms == pytest.approx(here.norms, rel=1e-3)
    assert here.norms
    for name, weight in weights.items():
        torch.testing.assert_close(moved[name], weight, rtol=1e-3, atol=1e-4, msg=name)


# --- the device itself


def test_operands_on_two_devices_are_refused() -> None:
    with device_elsewhere() as device:
        there = torch.arange(3.0, device=device)
        assert isinstance(there, Far)
        assert (there * 2 + torch.tensor(1)).cpu().tolist() == [1, 3, 5]
        assert there[torch.tensor([2, 0])].tolist() == [2, 0]
        with pytest.raises(RuntimeError, match="expected all tensors on one device"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()


@pytest.mark.parametrize(
    "read",
    [
        lambda tensor: tensor.sum().item(),
        lambda tensor: tensor.tolist(),
        lambda tensor: tensor.cpu(),
        lambda tensor: tensor.nonzero(),
        lambda tensor: tensor[tensor > 0],
        lambda tensor: int(tensor.max()),
        lambda tensor: bool((tensor > 0).all()),
        lambda tensor: torch.ones(3).to(tensor.device),
        lambda tensor: torch.tensor([1.0], device=tensor.device),
        lambda tensor: tensor.new_tensor([1.0]),
    ],
    ids=["item", "list", "copy", "places", "mask", "size", "truth", "copy to it", "numbers to it", "numbers like it"],
)
def test_waiting_for_the_device_is_refused(read: Callable[[torch.Tensor], object]) -> None:
    with device_elsewhere() as device:
        there = torch.arange(3.0, device=device)
        read(there)
        with never_waited_for(), pytest.raises(WaitedFor):
            read(there)


# --- trainings


@pytest.mark.parametrize("family", FAMILIES)
def test_stage_2_learns_on_the_device(llms: dict[str, tuple[Any, Tokenizer]], family: str, tmp_path: Path) -> None:
    assert_updates_agree(lambda: from_cache(translator_of(llms[family]), llms[family][1]), tmp_path)


@pytest.mark.parametrize("fusion", ["channels", "time"])
@pytest.mark.parametrize("temporal", [None, TemporalConfig(kernel=3, stride=2)], ids=["plain", "temporal"])
def test_stage_2_with_several_streams_learns_on_the_device(
    llms: dict[str, tuple[Any, Tokenizer]], fusion: str, temporal: TemporalConfig | None, tmp_path: Path
) -> None:
    seq2seq, tokenizer = llms["small mbart"]

    def make() -> tuple[Any, Any]:
        torch.manual_seed(3)
        streams: dict[str, Any] = {"temporal": temporal, "stream_fusion": fusion, "stream_dropout": 0.0}
        model = SignTranslator((DIM, 5), deepcopy(seq2seq), tokenizer.start, **streams)
        clips = [(torch.randn(length, DIM), torch.randn(length + 2, 5)) for length in LENGTHS]
        task, batch = from_cache(model, tokenizer)
        features, lengths = packed(clips)
        return task, replace(batch, features=features, lengths=lengths)

    assert_updates_agree(make, tmp_path)


@pytest.mark.parametrize("family", ["llama3", "gemma3_text", "gpt2"])
def test_a_decoder_only_llm_learns_on_the_device(family: str, tmp_path: Path) -> None:
    make_causal_llm(family, tmp_path / "llm")
    tokenizer = load_tokenizer(str(tmp_path / "llm"), None)
    start = tokenizer.start
    prefixes = (LanguagePrefix("de", start, (), start), LanguagePrefix("en", start, start * 2))

    def make() -> tuple[Any, Any]:
        seq2seq = load_seq2seq(str(tmp_path / "llm"), tokenizer=tokenizer)
        torch.manual_seed(3)
        task, batch = from_cache(SignTranslator(DIM, seq2seq, start, prefixes=prefixes), tokenizer)
        return task, replace(batch, targets=replace(batch.targets, languages=torch.tensor([0, 1, 0])))

    assert_updates_agree(make, tmp_path / "last")


def test_an_llm_learns_from_pixels_on_the_device(llms: dict[str, tuple[Any, Tokenizer]], tmp_path: Path) -> None:
    assert_updates_agree(lambda: from_pixels(visual_of(llms["small mbart"]), llms["small mbart"][1]), tmp_path)


def test_lora_learns_on_the_device(llms: dict[str, tuple[Any, Tokenizer]], tmp_path: Path) -> None:
    seq2seq, tokenizer = llms["small mbart"]

    def make() -> tuple[Any, Any]:
        model = translator_of((seq2seq, tokenizer))
        add_lora(model.seq2seq, LoraConfig(r=2, alpha=4))
        return from_cache(model, tokenizer)

    assert_updates_agree(make, tmp_path)


@pytest.mark.parametrize(("checkpointing", "chunk_frames"), [(False, None), (True, None), (False, 5)])
def test_the_visual_encoder_learns_on_the_device(
    llms: dict[str, tuple[Any, Tokenizer]],
    checkpointing: bool,
    chunk_frames: int | None,
    tmp_path: Path,
) -> None:
    def make() -> tuple[Any, Any]:
        model = visual_of(llms["light-t"])
        model.encoder.checkpointing, model.encoder.chunk_frames = checkpointing, chunk_frames
        return from_pixels(model, llms["light-t"][1])

    assert_updates_agree(make, tmp_path)


def test_further_terms_of_the_loss_learn_on_the_device(llms: dict[str, tuple[Any, Tokenizer]], tmp_path: Path) -> None:
    tokenizer = llms["light-t"][1]

    def make() -> tuple[Any, Any]:
        model = visual_of(llms["light-t"])
        model.translator.time_masks = TimeMasks(2, 3)
        setup = Setup(model.translator.kind.width, tokenizer, keep_every=4)
        return from_pixels(with_objectives(model, (*OBJECTIVES,), {"signcl": 1e-4}, setup), tokenizer)

    assert_updates_agree(make, tmp_path)


def test_an_llm_is_pre_trained_on_the_device(llms: dict[str, tuple[Any, Tokenizer]], tmp_path: Path) -> None:
    seq2seq, tokenizer = llms["small mbart"]

    def make() -> tuple[Any, Any]:
        text = NoisyText(SENTENCES, tokenizer, batch_size=3, seed=0, mask_ratio=0.35, span_mean=3.5)
        task = DenoisingTask(deepcopy(seq2seq), text, LlmPretrainingConfig(), nothing)
        return task, next(iter(text.epoch(1)))

    assert_updates_agree(make, tmp_path)


# --- what is trained


@pytest.mark.parametrize("level", ["frame", "sign", "hidden"])
def test_features_are_made_on_the_device(llms: dict[str, tuple[Any, Tokenizer]], level: str) -> None:
    model = visual_of(llms["light-t"]).eval()

    def features(device: torch.device) -> list[torch.Tensor]:
        encoder = FrozenEncoder(
            model.encoder, translator=model.translator, level=level, dtype="float16", device=device, batch_frames=5
        )
        events: list[Any] = []
        for number, length in enumerate(LENGTHS):
            clip = Clip(str(number), "test", Path(f"{number}.mp4"), None, None, "")
            events += [*frames_of(length).split(3), ClipEnd(clip, 0, length, 25.0)]
        pass_of_five = torch.cat([event for event in events if isinstance(event, torch.Tensor)])[:5]
        encoder.frame_features(pass_of_five)  # the first pass also prepares the normalization
        with never_waited_for():
            encoder.clip_features(encoder.frame_features(pass_of_five))
        encoded = list(encode(encoder, events))
        assert all(isinstance(one, EncodedClip) and one.features.device == CPU for one in encoded)
        return [one.features for one in encoded if isinstance(one, EncodedClip)]

    here = features(CPU)
    with device_elsewhere() as device:
        there = features(device)
    for one, other in zip(there, here, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_sentences_are_searched_on_the_device(llms: dict[str, tuple[Any, Tokenizer]], family: str, beams: int) -> None:
    model, tokenizer = translator_of(llms[family]), llms[family][1]
    batch = FeatureBatch(("a", "b", "c"), padded_features(), torch.tensor(LENGTHS), targets_of(tokenizer))
    search = partial(decode, tokenizer=tokenizer, generation=GenerationConfig(num_beams=beams, max_new_tokens=6))
    here = search(model, [batch])
    with device_elsewhere() as device:
        there = search(model.to(device), [batch])
    for one, other in zip(there, here, strict=True):
        assert (one.clip_id, one.texts) == (other.clip_id, other.texts)
        assert one.scores == pytest.approx(other.scores, abs=1e-4)


def test_attention_is_computed_on_the_device(llms: dict[str, tuple[Any, Tokenizer]]) -> None:
    model, tokenizer = translator_of(llms["small mbart"]), llms["small mbart"][1]
    features = features_of((5,)).numpy()
    here = word_attention(model, tokenizer, features, SENTENCES[2])
    with device_elsewhere() as device:
        there = word_attention(model.to(device), tokenizer, features, SENTENCES[2])
    assert there.words == here.words
    assert there.weights == pytest.approx(here.weights, abs=1e-5)
