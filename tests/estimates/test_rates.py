"""Seconds of a training from measured pieces."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slt_cache.config import LoraConfig, load_config
from slt_cache.errors import InputError
from slt_cache.estimates import rates
from slt_cache.estimates.rates import DeviceRates, TranslatorRates, seconds_of, translator_of
from slt_cache.estimates.workload import Amount, Workload
from slt_cache.runs.variants import MODELS
from tests.helpers.small_causal_llms import make_causal_llm

MEASURED: list[tuple[str, LoraConfig | None]] = []
LOAD = Workload({"train": Amount(100, 10_000), "dev": Amount(10, 1000), "test": Amount(20, 2000)}, 10, 50, "")
CONFIG = load_config("avatar", ["visual_training.epochs=3", "llm_training.epochs=5"])


def translator(name: str, lora: LoraConfig | None, terms: tuple[str, ...]) -> TranslatorRates:
    MEASURED.append((name, lora))
    return TranslatorRates(step=1.0, update=0.0, decoding=0.0, parameters=1, trained=1, saved_bytes=0.0)


RATES: Any = SimpleNamespace(translator=translator, trained_frame=1.0, encoded_frame=0.1, encoder_update=0.0)
KEPT = 10_000 * CONFIG.video.keep_rate


@pytest.mark.parametrize(
    ("action", "model", "an_epoch", "epochs", "size"),
    [
        ("visual", "llm", 100 + KEPT, 3, CONFIG.light_t.size),
        ("train", "llm", 100, 5, CONFIG.llm.name),
        ("baseline", "control", 100, 5, CONFIG.light_t.size),
        ("train", "llm-unfreeze-all", 100 + KEPT, 5, CONFIG.llm.name),
        ("train", "joint-temporal", 100 + 0.1 * KEPT, 5, CONFIG.llm.name),
    ],
)
def test_a_training_takes_its_translator_and_its_part_of_the_encoder_in_every_epoch(
    action: str, model: str, an_epoch: float, epochs: int, size: str
) -> None:
    without_dev = Workload({**LOAD.splits, "dev": Amount(0, 0)}, 10, 50, "")
    assert seconds_of(action, model, CONFIG, without_dev, RATES) == pytest.approx(epochs * an_epoch)
    assert MEASURED[-1] == (size, None)


def test_lora_is_that_of_stage_2_or_of_the_text_and_never_of_light_t() -> None:
    both = ["llm.lora.r=2", "llm_pretraining.objective=causal", "llm_pretraining.lora.r=3"]
    config, name = load_config("avatar", both), CONFIG.llm.name
    for action, model in (("train", "llm"), ("test", "joint"), ("pretrain", "llm"), ("baseline", "control")):
        seconds_of(action, model, config, LOAD, RATES)
    ranks = [(measured, None if lora is None else lora.r) for measured, lora in MEASURED[-4:]]
    assert ranks == [(name, 2), (name, 2), (name, 3), (config.light_t.size, None)]


def test_with_lora_fewer_weights_are_updated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "ROUNDS", 1)
    monkeypatch.setattr(rates, "PIXELS", 1000)
    monkeypatch.setattr(rates, "BATCH", 1)
    make_causal_llm("llama", tmp_path, num_hidden_layers=3)
    measured = DeviceRates(load_config("avatar", ["video.size=32", "video.resize=32"]), LOAD)
    whole, lora = (measured.translator(str(tmp_path), one) for one in (None, LoraConfig(r=2)))
    assert whole.trained == whole.parameters
    assert lora.trained < whole.trained < lora.parameters
    assert measured.translator(str(tmp_path), LoraConfig(r=2)) is lora  # measured once
    assert measured.translator("hub/unknown-mbart", LoraConfig(r=2, targets=("elsewhere",))).trained > 0
    with pytest.raises(InputError, match="no linear layer called elsewhere"):
        measured.translator(str(tmp_path), LoraConfig(targets=("elsewhere",)))


def test_further_terms_of_the_loss_have_weights_and_take_memory_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "ROUNDS", 1)
    monkeypatch.setattr(rates, "PIXELS", 1000)
    monkeypatch.setattr(rates, "BATCH", 2)
    measured = DeviceRates(load_config("avatar", ["video.size=32", "video.resize=32"]), LOAD)
    usual, more = measured.translator("tiny"), measured.translator("tiny", None, ("cico", "contrastive", "denoising"))
    heads = 2 * (2 * 256**2 + 1)
    assert more.parameters - usual.parameters == more.trained - usual.trained == heads
    assert more.saved_bytes > 1.5 * usual.saved_bytes
    assert measured.translator("tiny") is usual


def test_terms_are_those_of_the_stage_that_run_its_translator_again() -> None:
    config = load_config("avatar", ["visual_training.objective=signcl,contrastive", "llm.name=light-t"])
    assert translator_of(config, MODELS["visual"], False) == (config.light_t.size, None, ("contrastive",))
    assert translator_of(config, MODELS["llm"], False) == ("light-t", None, ("contrastive",))
    assert translator_of(config, MODELS["control"], False)[2] == translator_of(config, MODELS["joint"], False)[2] == ()


def test_a_model_with_its_own_encoder_reads_videos_when_it_is_tested() -> None:
    assert seconds_of("test", "joint", CONFIG, LOAD, RATES) == pytest.approx(0.1 * 2000 * CONFIG.video.keep_rate)
    assert seconds_of("test", "llm", CONFIG, LOAD, RATES) == 0
