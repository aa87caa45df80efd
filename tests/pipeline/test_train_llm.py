"""Stage 2 as a command: what it refuses before anything is trained."""

from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.errors import InputError
from slt_cache.pipeline.feature_spec import asked_spec
from slt_cache.pipeline.train_llm import train_llm
from slt_cache.runs.run import Run
from tests.helpers.caches import add_split, facts_of, rows_of, spec_of


def run_with(folder: Path, *settings: str) -> Run:
    return Run(folder / "run", load_config("avatar", settings))


def cached(run: Run, folder: Path) -> Path:
    """A cache of the features that the run asks for."""
    asked = asked_spec(run)
    assert isinstance(asked, dict)
    spec = replace(spec_of(), **asked)
    rows = [replace(row, features=row.features.astype(spec.dtype)) for row in rows_of()]
    for split in ("train", "dev"):
        add_split(folder / "feats.h5", rows, facts_of(split, spec))
    return folder / "feats.h5"


def test_a_small_llm_without_the_tokenizer_of_stage_1_names_its_command(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    with pytest.raises(InputError, match=r"no tokenizer yet\. Train stage 1 first: .*slt-cache train-visual"):
        train_llm(run, cached(run, tmp_path))
    assert not run.llm.exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("corpus.name=tsv", "preset: not set"),
        ("compute.device=abacus", "abacus"),
        ("features.level=frame", "level: file sign, this run frame"),
    ],
)
def test_what_would_fail_after_an_epoch_fails_before_the_first(tmp_path: Path, setting: str, said: str) -> None:
    cache = cached(run_with(tmp_path), tmp_path)
    with pytest.raises(InputError, match=said):
        train_llm(run_with(tmp_path, setting), cache)
    assert not (tmp_path / "run").exists()
