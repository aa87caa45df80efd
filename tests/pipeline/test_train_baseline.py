"""The Light-T baseline: for how long it is trained, and when it is trained already."""

from pathlib import Path

import pytest

from slt_cache.checkpoints.record import Record, write_record
from slt_cache.config import OptimizerConfig, load_config
from slt_cache.features.cache import FeatureCache
from slt_cache.pipeline.train_baseline import has_baseline
from slt_cache.pipeline.train_from_cache import cache_settings
from slt_cache.runs.run import Run
from slt_cache.runs.variants import BASELINE
from tests.helpers.caches import add_split, facts_of, rows_of, spec_of

SETTINGS = ("llm_training.epochs=7", "llm_training.patience=3", "visual_training.epochs=5", "control.lr=0.002")


def run_with(folder: Path, *settings: str) -> Run:
    return Run(folder / "run", load_config("avatar", [*SETTINGS, *settings]))


def cached(folder: Path, level: str) -> Path:
    add_split(folder / "feats.h5", rows_of(), facts_of(spec=spec_of(level=level)))
    return folder / "feats.h5"


def record_baseline(run: Run, cache: Path, epochs: int, finished: bool = True) -> None:
    """Writes the record of a baseline that was trained for so many epochs, at its own learning rate."""
    training = run.config.llm_training
    shared = {name: getattr(training, name) for name in OptimizerConfig.model_fields}
    loop = OptimizerConfig(**{**shared, "epochs": epochs, "patience": None, "lr": 0.002})
    settings = {
        **cache_settings(run, FeatureCache(cache, "train")),
        "loop": loop.recorded(),
        "length_buckets": training.length_buckets,
        "evaluate_every": training.evaluate_every,
    }
    write_record(run.folder / BASELINE.name / "best", Record("baseline", settings, finished=finished))


@pytest.mark.parametrize(("level", "epochs"), [("sign", 7), ("frame", 7 + 5)])
def test_a_new_light_t_gets_the_epochs_of_stage_1_too(tmp_path: Path, level: str, epochs: int) -> None:
    run, cache = run_with(tmp_path), cached(tmp_path, level)
    assert not has_baseline(run, cache)
    for trained in (7, 12):
        record_baseline(run, cache, trained)
        assert has_baseline(run, cache) == (trained == epochs)
    record_baseline(run, cache, epochs, finished=False)
    assert not has_baseline(run, cache)


@pytest.mark.parametrize(
    ("setting", "still"),
    [
        ("llm_training.patience=1", True),
        ("llm_training.lr=0.5", True),
        ("generation.num_beams=2", True),
        ("control.lr=0.1", False),
        ("llm_training.epochs=8", False),
        ("llm_training.evaluate_every=3", False),
        ("seed=9", False),
    ],
)
def test_it_is_trained_already_until_what_its_weights_depend_on_changes(
    tmp_path: Path, setting: str, still: bool
) -> None:
    cache = cached(tmp_path, "sign")
    record_baseline(run_with(tmp_path), cache, 7)
    assert has_baseline(run_with(tmp_path, setting), cache) == still
