"""What checks share: limits, differences, and float32 without TF32."""

import numpy as np
import pytest
import torch

from slt_cache.doctor.base import Finding, exact, relative


@pytest.mark.parametrize(
    ("value", "at_most", "passed"),
    [
        (1.0, 1.0, True),
        (1.01, 1.0, False),
        (float("nan"), 1.0, False),
        (float("inf"), None, True),
        ("text", None, True),
    ],
)
def test_a_value_passes_up_to_its_limit(value: object, at_most: float | None, passed: bool) -> None:
    assert Finding("value", value, at_most).passed is passed


def test_a_difference_is_relative_to_what_is_expected() -> None:
    expected = np.array([3.0, 4.0], np.float16)
    assert relative(expected, expected) == 0
    assert relative(torch.tensor([3.0, 4.5]), expected) == pytest.approx(0.1)


def test_a_gpu_computes_in_float32_without_tf32_and_deterministically_for_a_while() -> None:
    cublas, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn

    def flags() -> tuple[bool, bool, bool]:
        return cublas.allow_tf32, cudnn.allow_tf32, torch.are_deterministic_algorithms_enabled()

    before = flags()
    with pytest.raises(RuntimeError), exact(torch.device("cuda")):
        assert flags() == (False, False, True)
        raise RuntimeError
    assert flags() == before
    with exact(torch.device("cpu")):
        assert flags() == before
