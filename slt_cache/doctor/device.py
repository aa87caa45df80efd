"""Check: the device multiplies, copies and draws random numbers."""

from collections.abc import Iterator

import torch

from slt_cache.doctor.base import Check, Finding, Subject, exact, relative

SIZE = 256
ROUNDING = 1e-5
"""Relative error of products in float32."""


def _check(subject: Subject) -> Iterator[Finding]:
    matrix = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    there = matrix.to(subject.device)
    yield Finding("values changed by copying them there and back", int((there.cpu() != matrix).sum()), at_most=0)
    with exact(subject.device):
        product = (there @ there).cpu()
    yield Finding("matrix product, relative error", relative(product, matrix.double() @ matrix.double()), ROUNDING)
    drawn = []
    for _ in range(2):
        torch.manual_seed(1)
        drawn.append(torch.rand(SIZE, device=subject.device).cpu())
    yield Finding("random numbers that the same seed does not repeat", int((drawn[0] != drawn[1]).sum()), at_most=0)


CHECK = Check("device", "The device copies and multiplies numbers, and repeats random ones.", _check)
