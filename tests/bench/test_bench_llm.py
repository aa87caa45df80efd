"""`bench llm`: which figures there are and how they hang together. How fast a machine is, no test says."""

import json
import math
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from slt_cache.batches.features import FeatureBatch
from slt_cache.batches.targets import Targets
from slt_cache.bench.llm import bench_llm
from slt_cache.bench.measure import (
    SHAPES,
    BenchShape,
    MeasuredTask,
    bare_step,
    make_translator,
    run_loop,
    with_lora,
)
from slt_cache.bench.memory import bench_memory
from slt_cache.config import load_config
from slt_cache.errors import InputError
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.small import make_of_shape
from slt_cache.runs.run import open_run
from slt_cache.text.families import FAMILIES
from slt_cache.text.shapes import PublishedShape
from tests.helpers.commands import TINY, slt_cache


def make_tiny_gemma(vocabulary: int) -> Gemma3ForCausalLM:
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    return Gemma3ForCausalLM(Gemma3TextConfig(vocab_size=vocabulary, num_key_value_heads=1, head_dim=16, **sizes))


TINY_SHAPES = {
    "mbart-large": BenchShape(partial(make_of_shape, FAMILIES["mbart"], PublishedShape(1, 2, 32, 64))),
    "gemma-270m": BenchShape(make_tiny_gemma, SHAPES["gemma-270m"].lora),
}
SECONDS = ("seconds_from_cache", "seconds_bare_llm", "seconds_recomputed", "seconds_encoder_alone")
RATIOS = ("ratio", "ratio_allowed", "ratio_reached", "step_to_bare_llm", "step_to_bare_with_adapter")


@pytest.fixture(autouse=True)
def tiny_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slt_cache.bench.measure.SHAPES", TINY_SHAPES)


def contents(run: Path) -> dict[str, int]:
    return {str(path.relative_to(run)): path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


def test_the_figures_of_an_epoch_hang_together(trained: Path) -> None:
    before = contents(trained)
    ran = slt_cache("bench", "llm", "--run", trained, "--json")
    assert ran.code == 0, ran.err
    figures = json.loads(ran.out)
    assert all(not isinstance(value, dict | list) for value in figures.values())
    assert all(math.isfinite(figures[name]) and figures[name] > 0 for name in (*SECONDS, *RATIOS))
    assert figures["ratio_allowed"] > 1
    assert figures["ratio"] == pytest.approx(figures["ratio_reached"] * figures["ratio_allowed"], rel=0.01)
    assert figures["batches_timed"] == figures["batches_an_epoch"] > 3
    assert 0 <= figures["padding_in_buckets"] < figures["padding_shuffled"] < 1
    assert contents(trained) == before  # what was trained for the measurement is thrown away


def test_lora_and_a_part_of_an_epoch_are_timed_too(trained: Path) -> None:
    run = open_run(trained, None, ["llm.lora.r=2", "llm_training.clip_norm=null"])
    figures = bench_llm(run, run.features, batches=1)
    assert figures["lora"]
    assert figures["batches_timed"] == 1 < figures["batches_an_epoch"]
    assert figures["rounds"] == figures["passes"] == 3
    assert figures["step_to_bare_llm"] > 0


def test_what_is_done_in_a_moment_is_timed_again_within_a_round(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[bool] = []

    def bare_step(*args: Any, adapter: bool) -> float:
        steps.append(adapter)
        return 1.0

    for module in ("llm", "measure"):
        monkeypatch.setattr(f"slt_cache.bench.{module}.bare_step", bare_step)
    monkeypatch.setattr("slt_cache.bench.llm.ROUND_SECONDS", 5.0)
    run = open_run(trained, None)
    figures = bench_llm(run, run.features, batches=2)
    assert figures["passes"] == 3 * 3  # 2 batches of a second each, until there are 5 seconds
    assert figures["seconds_bare_llm"] == 2.0
    settling = [True]  # behind the start of readers; not counted
    assert steps == (settling + [False, True] * 2 * 3 + settling) * 4  # the round that warms up too


def test_without_a_clip_there_is_nothing_to_time(trained: Path) -> None:
    run = open_run(trained, None)
    with pytest.raises(InputError, match="there are no clips to time"):
        bench_llm(run, run.features, batches=0)


@pytest.mark.parametrize(
    ("shape", "peak"),
    [pytest.param("mbart-large", "step_peak", marks=pytest.mark.slow), ("gemma-270m", "lora_step_peak")],
)
def test_another_shape_takes_the_place_of_the_llm(trained: Path, shape: str, peak: str) -> None:
    run = open_run(trained, None)
    figures = bench_llm(run, run.features, shape)
    assert figures["llm"] == shape
    assert figures["parameters"] > 2500 * 32
    assert figures["batches_timed"] == 5
    assert figures["lora"] == (shape == "gemma-270m")
    assert 0.1 < figures[f"{peak}_gigabytes"] < 2.5
    names = ("step_to_bare_llm", "step_to_bare_with_adapter")
    assert all(figures[f"{batches}{name}"] > 0 for batches in ("", "made_up_") for name in names)


def test_another_shape_is_timed_on_a_made_up_batch_without_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted: list[bool] = []

    def bare_step(*args: Any, adapter: bool) -> float:
        adapted.append(adapter)
        return 2.0 if adapter else 0.5

    monkeypatch.setattr("slt_cache.bench.measure.bare_step", bare_step)
    monkeypatch.setattr("slt_cache.bench.memory._in_a_process", lambda work, *arguments: work(*arguments))
    monkeypatch.chdir(tmp_path)
    ran = slt_cache("bench", "llm", "--shape", "gemma-270m", "--config", TINY, "--device", "cpu", "--json")
    assert ran.code == 0, ran.err
    figures = json.loads(ran.out)
    assert figures["llm"] == "gemma-270m" and figures["lora"] and figures["lora_step_peak_gigabytes"] > 0.1
    assert (figures["clips"], figures["steps_a_clip"], figures["tokens_a_clip"]) == (16, 50, 20)
    assert figures["made_up_steps_timed"] == 16
    assert adapted == [False, True] * 18  # a pass of two that warms up
    assert figures["made_up_seconds_bare_llm"] == 0.5
    ratio = figures["made_up_step_to_bare_llm"]
    assert ratio == pytest.approx(2 * figures["made_up_seconds"], abs=2e-3)
    assert ratio == pytest.approx(4 * figures["made_up_step_to_bare_with_adapter"], abs=5e-4)
    assert "tiny/llm/best: not trained; only a made-up batch is timed" in ran.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", TINY_SHAPES)
def test_a_bare_step_has_the_gradients_of_the_training(shape: str, tmp_path: Path) -> None:
    """So it does the same work: the LLM's gradients are the same if the sign embeddings are given."""
    settings = ("llm_training.label_smoothing=0.1", "llm_training.clip_norm=null")
    config = with_lora(load_config(str(TINY), settings), TINY_SHAPES[shape].lora)
    TINY_SHAPES[shape].make(50).save_pretrained(tmp_path)
    model = make_translator(config, 8, load_seq2seq(str(tmp_path), dropout=0.0), (3,))
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(4, 50, (3, 5), generator=generator)
    features = torch.randn(3, 7, 8, generator=generator)
    batch = FeatureBatch(("a", "b", "c"), features, torch.full((3,), 7), Targets(tokens, tokens.roll(-1, 1)))
    found: list[dict[str, torch.Tensor]] = []

    def keep() -> None:
        found.append({name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None})
        model.load_state_dict(weights)

    def measure(task: MeasuredTask) -> Iterator[FeatureBatch]:
        yield batch
        keep()
        for adapter in (True, False):
            bare_step(task, config, cpu, batch, adapter)
            keep()

    cpu, one = torch.device("cpu"), cast(Any, [batch])
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    run_loop(MeasuredTask(config, model, DataLoader(one, batch_size=None), measure), config.llm_training, config, cpu)
    trained, adapted, bare = found
    assert adapted.keys() == trained.keys() and bare.keys() == {name for name in trained if "seq2seq." in name}
    for gradients in (adapted, bare):
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, trained[name], rtol=1e-4, atol=1e-6)


def test_without_a_trained_llm_it_says_what_to_do(trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(run / "llm" / "best")
    ran = slt_cache("bench", "llm", "--run", run)
    assert ran.code == 2
    assert "slt-cache train-llm" in ran.err
    ran = slt_cache("bench", "llm", "--run", run, "--shape", "gemma-270m", "--batches", 1)
    assert ran.code == 2
    assert "slt-cache train-llm" in ran.err
    ran = slt_cache("bench", "llm", "--run", trained, "--shape", "gpt")
    assert ran.code == 2
    assert "run, mbart-large, gemma-270m" in ran.err


@pytest.mark.parametrize("shape", ["run", pytest.param("gemma-270m", marks=pytest.mark.slow)])
def test_the_memory_of_a_step_is_that_of_a_process_of_its_own(shape: str) -> None:
    figures = bench_memory(load_config(str(TINY), ["compute.device=cpu"]), shape)
    assert 0.1 < figures["lora_step_peak_gigabytes"] < 2.5
    assert 0.1 < figures["step_peak_gigabytes"] < 2.5
    assert figures["parameters"] < 400_000
    assert figures["lora_rank"] == (8 if shape == "run" else 16)
    assert all(not isinstance(value, dict | list) for value in figures.values())
