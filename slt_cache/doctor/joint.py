"""Check: encoder and LLM learn together on the device."""

from collections.abc import Iterator

from slt_cache.doctor.base import Check, Finding, Subject, against_cpu, exact
from slt_cache.pipeline.train_joint import train_joint


def _check(subject: Subject) -> Iterator[Finding]:
    here, there = (subject.run(name, device) for name, device in subject.both("joint"))
    with exact(subject.device):
        for run in (here, there):
            train_joint(run)
    yield from against_cpu(there.trained_by("train-joint"), here.trained_by("train-joint"))


CHECK = Check("joint", "Joint training trains the encoder and the LLM end to end.", _check)
