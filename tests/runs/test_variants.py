"""The table of the models that a run can hold."""

from itertools import pairwise
from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.runs.run import Run
from slt_cache.runs.settings_use import STAGES
from slt_cache.runs.variants import BASELINE, MODELS, TRAININGS, label_of, trained_by

CHOICES = [
    ("train-visual", [], "visual"),
    ("llm pretrain", [], "llm/pretrained"),
    ("train-llm", [], "llm"),
    ("train-llm", ["llm.pretrained=false"], "llm-from-scratch"),
    ("train-llm", ["llm_training.unfreeze=temporal"], "llm-unfreeze-temporal"),
    ("train-llm", ["llm_training.unfreeze=all"], "llm-unfreeze-all"),
    ("train-llm", ["llm_training.unfreeze=all", "llm.pretrained=false"], "llm-unfreeze-all"),
    ("train-joint", [], "joint"),
    ("train-joint", ["llm_training.unfreeze=all"], "joint"),
    ("train-joint", ["llm_training.unfreeze=temporal"], "joint-temporal"),
]


@pytest.mark.parametrize(("command", "settings", "folder"), CHOICES)
def test_command_and_settings_choose_the_model_and_its_folder(command: str, settings: list[str], folder: str) -> None:
    run = Run(Path("run"), load_config("avatar", settings))
    assert run.trained_by(command) == Path("run") / folder


@pytest.mark.parametrize("model", sorted(set(MODELS) - {BASELINE.name}))
def test_the_advised_command_of_a_model_trains_that_model(model: str) -> None:
    words = MODELS[model].words.split()
    settings = [word for before, word in pairwise(words) if before == "--set"]
    assert trained_by(words[0], load_config("avatar", settings)).name == model


def test_only_the_stages_of_a_run_change_its_settings() -> None:
    made = {row.makes for row in TRAININGS.values()} - {None}
    assert made == {"visual", "llm", "pretrained"} <= set(STAGES)


def test_what_is_no_model_of_a_run_keeps_its_name_in_tables() -> None:
    assert label_of("llm") == "both stages (LLM from the cache)"
    assert label_of("elsewhere") == "elsewhere"
