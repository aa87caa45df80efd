"""Seconds of a training from measured pieces."""

from types import SimpleNamespace
from typing import Any

import pytest

from slt_cache.config import load_config
from slt_cache.pipeline.rates import TranslatorRates, seconds_of
from slt_cache.pipeline.workload import Amount, Workload

SIZES: list[str] = []
LOAD = Workload({"train": Amount(100, 10_000), "dev": Amount(10, 1000), "test": Amount(20, 2000)}, 10, 50, "")
CONFIG = load_config("avatar", ["visual_training.epochs=3", "llm_training.epochs=5"])


def translator(name: str) -> TranslatorRates:
    SIZES.append(name)
    return TranslatorRates(step=1.0, update=0.0, decoding=0.0, parameters=1, saved_bytes=0.0)


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
    assert SIZES[-1] == size


def test_a_model_with_its_own_encoder_reads_videos_when_it_is_tested() -> None:
    assert seconds_of("test", "joint", CONFIG, LOAD, RATES) == pytest.approx(0.1 * 2000 * CONFIG.video.keep_rate)
    assert seconds_of("test", "llm", CONFIG, LOAD, RATES) == 0
