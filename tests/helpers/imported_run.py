"""A run over imported features, which stage 2 trains on without a stage 1: eight clips of random features."""

from pathlib import Path

import numpy as np

from slt_cache.features.parts import ClipFeatures, add_splits, content_of
from slt_cache.features.spec import IMPORTED, FeatureSpec
from tests.helpers.caches import facts_of

SENTENCES = ("größer süden", "ein satz", "heute regen", "morgen schnee")


def imported_cache(path: Path, dim: int, sentences: tuple[str, ...] = SENTENCES) -> Path:
    """Writes a cache with a train and a dev split; returns its path."""
    random = np.random.default_rng(3)
    for split in ("train", "dev"):
        rows = [
            ClipFeatures(f"{split} {n}", text, 4 * (n + 2), 25.0, random.normal(size=(n + 2, dim)).astype("float16"))
            for n, text in enumerate(sentences)
        ]
        spec = FeatureSpec(encoder_sha256=None, level=IMPORTED, dim=dim, dtype="float16", source="random")
        add_splits(path, [content_of(facts_of(split, spec), rows)])
    return path


def of_imported(run: Path, cache: Path, *settings: str) -> list[str]:
    """The words of a training of stage 2 in a run of the cache; `settings` as for --set."""
    words = ("features.level=imported", "corpus.name=tsv", "llm.language=de_DE", "llm_training.batch_size=2", *settings)
    chosen = [part for word in words for part in ("--set", word)]
    return ["train-llm", "--features", str(cache), "--run", str(run), *chosen]
