"""Check: stage 1 learns on the device."""

from collections.abc import Iterator

from slt_cache.doctor.base import Check, Finding, Subject, against_cpu, exact
from slt_cache.pipeline.train_visual import train_visual


def _check(subject: Subject) -> Iterator[Finding]:
    run = subject.run("stage-1", subject.device)
    with exact(subject.device):
        train_visual(run)
    yield from against_cpu(run.visual, subject.trained.visual)


CHECK = Check("stage-1", "Stage 1 trains the visual encoder and Light-T on drawn videos.", _check)
