"""Tables that the paper does not have: what their rows differ in, and what they share."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from slt_cache.checkpoints.record import read_record
from slt_cache.config import Config, load_config
from slt_cache.reproduce.experiments import experiments
from slt_cache.reproduce.planning import plan
from slt_cache.reproduce.run_tables import request_of
from slt_cache.reproduce.tables import tables
from slt_cache.reproduce.variants import folder_of, run_of, settings_of
from tests.helpers.commands import TINY, interrupt_at, slt_cache
from tests.helpers.small_causal_llms import make_causal_llm


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gemma") / "llm"
    make_causal_llm("gemma3_text", folder)
    return folder


@pytest.fixture
def config(gemma: Path) -> Config:
    settings = ("llm_pretraining.objective=causal", "llm_training.lr=1e-4", "llm.language=de")
    return load_config("avatar-rich", [f"llm.name={gemma}", *settings])


def names_of(config: Config, *tables: str, seeds: tuple[int, ...] = (0,)) -> list[str]:
    known = experiments(config)
    return [step.name for step in plan([known[name] for name in tables], seeds, Path("r"), config)]


def settings(config: Config, variant: str, model: str = "llm") -> Config:
    return run_of(folder_of(Path("r"), 0, variant, config), config, model).config


def test_one_encoder_and_one_cache_serve_all_llms(config: Config) -> None:
    names = names_of(config, "llms", seeds=(0, 1))
    assert [name for name in names if name.endswith((": stage 1", ": features of every clip"))] == [
        f"seed {seed}, base: {what}" for seed in (0, 1) for what in ("stage 1", "features of every clip")
    ]
    assert [name for name in names if name.endswith("pre-training")] == [
        f"seed 0, {variant}: pre-training" for variant in ("base", "small-mbart")
    ]
    trained = ("base: stage 2", "lora: stage 2", "base: stage 2 from scratch", "base: Light-T baseline")
    small = ("small-mbart: stage 2", "small-mbart: stage 2 from scratch")
    assert {f"seed 1, {name}" for name in (*trained, *small)} <= set(names)


def test_the_rows_differ_in_what_is_trained(config: Config, gemma: Path) -> None:
    lora, small = (settings(config, variant) for variant in ("lora", "small-mbart"))
    assert lora.llm.lora is not None and lora.llm.lora.r == 16
    assert lora.llm_training.lr == pytest.approx(1e-3)
    assert lora.llm.name == config.llm.name == str(gemma)
    rich = load_config("avatar-rich")
    assert (small.llm.name, small.llm.lora, small.llm.language) == ("small-mbart", None, "de")
    assert small.llm_pretraining.recorded() == rich.llm_pretraining.recorded()
    assert small.llm_training.lr == rich.llm_training.lr
    assert small.llm_training.epochs == config.llm_training.epochs
    for variant in ("base", "small-mbart"):
        assert not settings(config, variant, "llm-from-scratch").llm.pretrained


def test_a_run_with_lora_has_the_whole_llm_as_its_variant(config: Config) -> None:
    frozen = ("llm.lora.r=4", "llm.dtype=bfloat16", "llm_training.lr=1e-3")
    with_lora = load_config("avatar-rich", [f"llm.name={config.llm.name}", *frozen])
    rows = {row.label: row.variant for row in experiments(with_lora)["llms"].rows}
    assert rows["pre-trained, LoRA"] == "base" and rows["pre-trained, whole"] == rows["from scratch"] == "whole"
    whole = settings(with_lora, "whole", "llm-from-scratch")
    assert whole.llm.lora is None and not whole.llm.pretrained
    assert whole.llm_training.lr == pytest.approx(1e-4)


def test_table_10_names_the_llm_of_the_run(config: Config, gemma: Path) -> None:
    llms = {
        "small-mbart": "MBart",
        "facebook/mbart-large-cc25": "MBart",
        "google/gemma-3-270m": "gemma-3-270m",
        str(gemma): gemma.name,
    }
    for name, title in llms.items():
        rows = tables(load_config("avatar-rich", [f"llm.name={name}"]))["table10"].rows
        assert [row.label for row in rows[:3]] == [f"{title}, pre-trained", f"{title} from scratch", "mT5, pre-trained"]


def test_protocols_of_joint_training_differ_in_epochs_and_rates(config: Config) -> None:
    both = config.visual_training.epochs + config.llm_training.epochs
    found: dict[str, Any] = {}
    for row in experiments(config)["joint"].rows[1:]:
        training = settings(config, row.variant, row.model).llm_training
        found[row.variant] = (training.epochs, training.lr, training.encoder_lr, training.adapter_lr)
    rates = (1e-4, config.llm_training.encoder_lr, config.llm_training.adapter_lr)
    assert found == {
        "base": (both, *rates),
        "video-epochs": (config.visual_training.epochs, *rates),
        "one-rate": (config.visual_training.epochs, 1e-4, 1e-4, 1e-4),
    }


def test_the_papers_tables_alone_are_all_of_them() -> None:
    request = request_of(["all"], "0", Path("nowhere"), "avatar-rich", [])
    assert not {"llms", "joint"} & {table.name for table in request.tables}
    named = request_of(["llms", "table4"], "0", Path("nowhere"), "avatar-rich", [])
    assert [table.name for table in named.tables] == ["table4", "llms"]
    base = settings_of(folder_of(Path("r"), 0, "base", named.config), named.config)
    assert "llm.lora" not in base


@pytest.mark.slow
def test_llms_are_compared_over_one_encoder_and_a_killed_comparison_goes_on(gemma: Path, tmp_path: Path) -> None:
    brief = ("visual_training.epochs=1", "llm_training.epochs=1", "llm_pretraining.sentences=60")
    asked = [f"llm.name={gemma}", "llm_pretraining.objective=causal", "llm_pretraining.lr=1e-3", *brief]
    words = ["reproduce", "llms", "--json", "--config", str(TINY), "--run", str(tmp_path)]
    words += [word for setting in asked for word in ("--set", setting)]
    assert interrupt_at("] seed 0, lora: stage 2", *words).code == 130
    ran = slt_cache(*words)
    assert ran.code == 0, ran.err
    assert not {"base: stage 1 (about", "base: pre-training (about"} & set(re.findall(r"base: [^:]+ \(about", ran.err))
    rows = json.loads(ran.out)["tables"]["llms"]["rows"]
    assert [(row["variant"], row["model"]) for row in rows] == [
        ("base", "llm"),
        ("lora", "llm"),
        ("base", "llm-from-scratch"),
        ("small-mbart", "llm"),
        ("small-mbart", "llm-from-scratch"),
    ]
    base, small = (tmp_path / "seed0" / variant for variant in ("base", "small-mbart"))
    assert (base / "feats.h5").samefile(small / "feats.h5")
    made = {folder: read_record(folder / "llm" / "best") for folder in (base, small)}
    assert all(record is not None and record.settings["pretraining"] for record in made.values())
