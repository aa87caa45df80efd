"""What one training of a run is."""

from pathlib import Path

from slt_cache.runs.variants import VISUAL
from tests.helpers.stages import idle_stage


def test_a_stage_lies_in_the_folder_of_its_model_and_names_its_command(tmp_path: Path) -> None:
    stage = idle_stage(tmp_path, {"seed": 1})
    assert (stage.name, stage.folder) == ("stage 1", tmp_path / VISUAL.name)
    assert stage.command.endswith(f"train-visual --run {tmp_path}")


def test_a_record_has_the_settings_and_what_goes_with_its_scores(tmp_path: Path) -> None:
    stage = idle_stage(tmp_path, {"seed": 1})
    scored, bare = stage.record_of(2, {"bleu4": 3.0}), stage.record_of(2, {})
    assert (scored.settings, scored.best_epoch, scored.dev_beams) == ({"seed": 1}, 2, 1)
    assert scored.context["scoring"]["preset"] == "plain"
    assert (bare.dev_beams, bare.context["scoring"]) == (None, {})
