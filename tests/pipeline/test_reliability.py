"""The blank step of a model's features comes from its run's cache or from its model folder."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from slt_cache.config import load_config
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.spec import Specs
from slt_cache.pipeline import reliability
from slt_cache.pipeline.model_folder import WholeModel
from slt_cache.pipeline.reliability import BLANK_FILE, blank_step, evidence_reader, write_blank
from slt_cache.runs.run import Run
from tests.helpers.caches import DIM, add_split, rows_of, spec_of
from tests.helpers.commands import TINY


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", load_config(str(TINY)))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureCache:
    """The train split of the run, whichever model asks."""
    cache = add_split(tmp_path / "feats.h5", rows_of())
    monkeypatch.setattr(reliability, "cached_split", lambda run, split, *others: cache if split == "train" else None)
    return cache


def model_of(specs: Specs, folder: Path, language: str = "") -> Any:
    tokenizer = SimpleNamespace(language=language)
    llm = SimpleNamespace(specs=specs, tokenizer=tokenizer, model=object())
    return SimpleNamespace(folder=folder, llm=llm, config=load_config(str(TINY)))


def test_it_is_the_mean_over_all_steps_of_the_training_clips(run: Run, cache: FeatureCache) -> None:
    steps = np.concatenate([cache.row(place).astype(np.float64) for place in range(len(cache))])
    found = blank_step(run, spec_of())
    assert isinstance(found, np.ndarray) and found.shape == (DIM,)
    np.testing.assert_allclose(found, steps.mean(0), atol=1e-3)


@pytest.mark.parametrize("language", ["", "en_XX"])
def test_a_model_folder_reads_what_its_run_wrote(run: Run, cache: FeatureCache, tmp_path: Path, language: str) -> None:
    (folder := tmp_path / "model").mkdir()
    write_blank(folder, run, spec_of(), "llm")
    model = model_of(spec_of(), folder, language)
    reader = evidence_reader(model, model)
    assert reader.translator is model.llm.model and reader.language == (language or "de_DE")
    np.testing.assert_array_equal(np.asarray(reader.blank), np.asarray(blank_step(run, spec_of())))


def test_without_the_training_clips_the_folder_is_written_and_says_what_it_lacks(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reliability, "cached_split", lambda *asked: None)
    write_blank(tmp_path, run, spec_of(), "llm")
    assert "the model folder will not say how reliable a sentence is" in capsys.readouterr().err
    assert not (tmp_path / BLANK_FILE).exists()
    model: WholeModel = model_of(spec_of(), tmp_path)
    with pytest.raises(InputError, match="Export it again from a run with its feature cache"):
        evidence_reader(model, model)
    with pytest.raises(InputError, match="extract-features --split train"):
        evidence_reader(run, model)
