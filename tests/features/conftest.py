"""Small caches for every test of this folder."""

from pathlib import Path

import pytest

from slt_cache.features.cache import FeatureCache
from tests.helpers.caches import (
    add_split,
    facts_of,
    rows_of,
    spec_with_views,
)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return add_split(tmp_path / "feats.h5", rows_of())


@pytest.fixture
def seen_thrice(tmp_path: Path) -> FeatureCache:
    """Three views of each clip."""
    return add_split(tmp_path / "views.h5", rows_of(views=3), facts_of(spec=spec_with_views(3)))
