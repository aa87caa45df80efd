"""Memory of a process, as trainings record it."""

import sys

import pytest
import torch

from slt_cache.device import peak_memory, reset_peak_memory

MEGABYTE = 2**20
CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a process's peak")
def test_a_peak_counts_what_was_freed_again_but_nothing_before_its_start() -> None:
    earlier = torch.ones(200 * MEGABYTE, dtype=torch.uint8)
    before = peak_memory(CPU)
    del earlier
    reset_peak_memory(CPU)
    start = peak_memory(CPU)
    assert start < before - 150 * MEGABYTE
    torch.ones(100 * MEGABYTE, dtype=torch.uint8)
    assert 90 * MEGABYTE < peak_memory(CPU) - start < 150 * MEGABYTE
