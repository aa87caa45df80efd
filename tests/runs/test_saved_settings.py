"""config.yaml always holds the settings that the finished stages were made with."""

from pathlib import Path

import pytest

from slt_cache.checkpoints.record import Record, save_record
from slt_cache.config import Config, load_config
from slt_cache.runs.run import Run
from slt_cache.runs.saved_settings import save_settings


def saved(folder: Path) -> Config:
    return load_config(str(folder / "config.yaml"))


def run_with(folder: Path, *settings: str) -> Run:
    return Run(folder, load_config("avatar", settings), overrides=settings)


def test_a_comparison_changes_no_settings_but_gives_a_new_folder_some(tmp_path: Path) -> None:
    save_settings(run_with(tmp_path, "llm_training.epochs=3"), None)
    save_settings(run_with(tmp_path, "llm_training.epochs=9"), None)
    assert saved(tmp_path).llm_training.epochs == 3


def test_a_stage_that_was_made_saves_its_settings_and_leaves_those_of_finished_ones(tmp_path: Path) -> None:
    save_settings(run_with(tmp_path, "visual_training.epochs=3"), "visual")
    save_record(tmp_path / "visual" / "best", Record("stage 1", {}).finish(3, 1.0))
    save_settings(run_with(tmp_path, "visual_training.epochs=9", "llm_training.epochs=9"), "llm")
    assert (saved(tmp_path).visual_training.epochs, saved(tmp_path).llm_training.epochs) == (3, 9)


def test_a_stage_made_on_the_way_saves_its_own_sections_alone(tmp_path: Path) -> None:
    save_settings(run_with(tmp_path), "visual")
    asked = ("llm_pretraining.epochs=9", "llm_training.epochs=9")
    on_the_way = Run(tmp_path, load_config("avatar", asked), on_the_way=True)
    save_settings(on_the_way, "pretrained")
    assert saved(tmp_path).llm_pretraining.epochs == 9
    assert saved(tmp_path).llm_training.epochs == load_config("avatar").llm_training.epochs


def test_a_setting_that_a_finished_later_stage_does_not_have_is_said_not_to_be_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_settings(run_with(tmp_path), "llm")
    save_record(tmp_path / "llm" / "best", Record("stage 2", {}).finish(3, 1.0))
    save_settings(run_with(tmp_path, "llm.keep_characters=true"), "visual", trained=False)
    assert "llm.keep_characters=True is not saved: stage 2" in capsys.readouterr().err
