"""What a feature cache holds, and whether it is undamaged."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from slt_cache.features.cache import FeatureCache, cached_splits


def describe_cache(path: Path) -> dict[str, dict[str, Any]]:
    """Facts of each split. Raises InputError where the path is no feature cache."""
    facts = {}
    for split in cached_splits(path):
        held = FeatureCache(path, split)
        facts[split] = {
            "clips": len(held),
            "rows": len(held.features),
            "dim": held.dim,
            "dtype": str(held.features.dtype),
            "bytes": int(held.features.nbytes),
            "complete": held.complete,
            "missing": [asdict(failure) for failure in held.missing],
            "spec": asdict(held.spec),
        }
    return facts
