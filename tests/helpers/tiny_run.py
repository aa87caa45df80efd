"""A trained run small enough for tests: the whole pipeline on the tiny corpus in seconds. It learns nothing."""

from pathlib import Path

from tests.helpers.commands import TINY, Ran, slt_cache


def succeed(*arguments: str | Path) -> Ran:
    ran = slt_cache(*arguments)
    assert ran.code == 0, ran.err
    return ran


TALKING = (
    "llm_training.epochs=60",
    "llm_training.evaluate_every=60",
    "llm_training.patience=60",
    "llm_training.batch_size=4",
    "llm_training.lr=5e-3",
    "generation.max_new_tokens=32",
)
"""Settings with which it outputs words instead of empty sentences, though not what is signed."""


def train_tiny(run: Path, *settings: str) -> Path:
    """Trains both stages, with all splits in the cache; `settings` as for --set. Returns the run folder. States are not
    kept: tests copy such runs, and states are large."""
    chosen = [word for setting in ("compute.keep_state=false", *settings) for word in ("--set", setting)]
    succeed("train-visual", "--run", run, "--config", TINY, *chosen)
    succeed("extract-features", "--split", "all", "--run", run)
    succeed("train-llm", "--features", "feats.h5", "--run", run)
    return run
