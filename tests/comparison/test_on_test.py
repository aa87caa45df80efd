"""Evidence that the choices of a run were made on test."""

from pathlib import Path

from slt_cache.comparison.on_test import choices_on_test
from slt_cache.features.parts import ClipFeatures
from slt_cache.runs.run import open_run
from tests.helpers.caches import add_split, facts_of, rows_of
from tests.helpers.scored_runs import make_scored_run, spoilt, write_evaluation, write_selected


def found(run: Path, model: str = "llm") -> list[str]:
    return choices_on_test(open_run(run), [model])[model]


def test_a_run_that_looked_at_test_once_made_no_choice_on_it(tmp_path: Path) -> None:
    run = make_scored_run(tmp_path)
    write_selected(run)
    write_evaluation(run, spoilt(0.1, 0))
    assert found(run) == []


def test_weights_that_were_kept_by_test_clips_are_called_so(tmp_path: Path) -> None:
    run = make_scored_run(tmp_path, videos={"dev-0": "clip-7.mp4"})
    write_evaluation(run, spoilt(0.1, 0))
    assert found(run) == []  # nothing was kept by dev
    write_selected(run, "visual")
    for model in ("visual", "llm"):  # stage 2 builds on stage 1
        [why] = found(run, model)
        assert why.startswith("weights were kept by their score on dev, which shows test clips: 1, such as ")
        assert "dev-0 (dev) and clip-7 (test)" in why


def test_test_clips_in_the_dev_split_of_a_cache_are_found_by_their_content(tmp_path: Path) -> None:
    run = make_scored_run(tmp_path)
    write_selected(run)
    rows = rows_of()
    add_split(run / "feats.h5", rows, facts_of("test"))
    other = [ClipFeatures(f"{one.clip_id}-again", one.text, 20, 25.0, one.features) for one in rows[:1]]
    add_split(run / "feats.h5", other, facts_of("dev"))
    [why] = found(run)
    assert f"{rows[0].clip_id}-again (dev) and {rows[0].clip_id} (test)" in why


def test_settings_that_were_tried_on_test_and_not_on_dev_are_called_so(tmp_path: Path) -> None:
    run = make_scored_run(tmp_path)
    write_evaluation(run, spoilt(0.1, 0))
    beams = {"generation.num_beams": 1}
    write_evaluation(run, spoilt(0.1, 1), "test.num_beams-1", settings=beams)
    write_evaluation(run, spoilt(0.1, 1), "test.without-pose", settings={"without": "pose"})  # asks what it is worth
    [why] = found(run)
    assert "other settings too (generation.num_beams=1) and dev was not" in why
    assert found(run, "visual") == []
    write_evaluation(run, spoilt(0.1, 1), "dev.num_beams-1", settings=beams)
    assert found(run) == []


def test_a_training_after_test_was_scored_is_called_so(tmp_path: Path) -> None:
    run = make_scored_run(tmp_path)
    before = [{"finished_at": "2026-01-01T00:00:00+00:00", "best_epoch": 3}] * 2
    write_evaluation(run, spoilt(0.1, 0), scored_before=before)
    [why] = found(run)
    assert why.startswith("test was scored 2 times before the present weights were trained")


def test_a_trial_of_a_sweep_of_which_others_were_scored_on_test_is_called_so(tmp_path: Path) -> None:
    runs = [make_scored_run(tmp_path / "trials" / name) for name in ("7", "7-seed2", "12")]
    for run in runs[:2]:
        write_evaluation(run, spoilt(0.1, 0))
    assert found(runs[0]) == []
    write_evaluation(runs[2], spoilt(0.2, 0))
    for run in runs[:2]:
        assert found(run) == ["test was scored for other trials of its sweep (12), so it may have been chosen by it"]
