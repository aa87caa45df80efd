"""One metric over trainings with different seeds."""

import pytest

from slt_cache.metrics.seeds import MeanAndStd


def test_the_deviation_is_that_of_a_sample_and_a_single_seed_has_none() -> None:
    spread = MeanAndStd((1.0, 2.0, 6.0))
    assert spread.mean == 3.0
    assert spread.deviation == pytest.approx(7**0.5)
    assert MeanAndStd((5.0,)).deviation is None
