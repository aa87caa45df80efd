"""What follows from a run's text is made aside, and takes its place when a training starts."""

from pathlib import Path

import pytest

from slt_cache.checkpoints.record import Record, save_record
from slt_cache.config import load_config
from slt_cache.errors import InputError
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run


def fill(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "made").touch()


def test_what_was_made_and_not_kept_is_gone_with_the_command(tmp_path: Path) -> None:
    run = Run(tmp_path, load_config("avatar"))
    with Derived(run, "train-visual", restart=False) as derived:
        aside = derived.ensure(run.tokenizer, "tokenizer", {"vocabulary": 1}, fill)
        assert (aside / "made").is_file()
    assert not aside.exists() and not run.tokenizer.exists()


def test_what_is_kept_is_found_by_the_next_command_and_not_made_again(tmp_path: Path) -> None:
    run = Run(tmp_path, load_config("avatar"))
    with Derived(run, "train-visual", restart=False) as derived:
        derived.ensure(run.tokenizer, "tokenizer", {"vocabulary": 1}, fill)
        derived.keep()
    with Derived(run, "train-llm", restart=False) as derived:
        found = derived.ensure(run.tokenizer, "tokenizer", {"vocabulary": 1}, lambda folder: pytest.fail("made again"))
    assert found == run.tokenizer and (found / "made").is_file()


def test_what_a_training_has_used_is_not_replaced_without_a_restart(tmp_path: Path) -> None:
    run = Run(tmp_path, load_config("avatar"))
    with Derived(run, "train-visual", restart=False) as derived:
        derived.ensure(run.tokenizer, "tokenizer", {"vocabulary": 1}, fill)
        derived.keep()
    save_record(run.visual / "best", Record("stage 1", {}).finish(1, 1.0))
    with Derived(run, "train-visual", restart=False) as derived, pytest.raises(InputError, match="vocabulary"):
        derived.ensure(run.tokenizer, "tokenizer", {"vocabulary": 2}, fill)
    with Derived(run, "train-visual", restart=True) as derived:
        assert derived.ensure(run.tokenizer, "tokenizer", {"vocabulary": 2}, fill) != run.tokenizer
