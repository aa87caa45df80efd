"""Memory of a process, as trainings record it, and copies to and from a device."""

import sys

import pytest
import torch

from slt_cache.device import Readback, moved, peak_memory, reset_peak_memory

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


def test_on_a_cpu_nothing_is_copied() -> None:
    tensor = torch.arange(3.0)
    assert moved(tensor, CPU) is tensor
    assert Readback(tensor).values() == [0.0, 1.0, 2.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch supports")
@pytest.mark.parametrize("is_pinned", [True, False])
def test_what_a_gpu_copies_beside_its_work_is_what_was_there(is_pinned: bool) -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    work = torch.ones(2000, 2000, device=device)
    for number in range(50):
        host = torch.full((1000, 1000), float(number))
        copy = moved(host.pin_memory() if is_pinned else host, device)
        work = work @ work / 2000
        read = Readback(copy.flatten()[:2] + 1)
        del copy
        assert read.values() == [number + 1.0] * 2
