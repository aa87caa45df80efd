"""Check: beam search on the device finds what it finds on the CPU."""

from collections.abc import Iterator

from slt_cache.doctor.base import TRAINED, Check, Finding, Subject, exact
from slt_cache.pipeline.evaluate import evaluate

SCORE = 1e-3
"""Largest difference of a sentence's log-probability per token."""


def _check(subject: Subject) -> Iterator[Finding]:
    cache = subject.trained.features
    for name, beams in (("beam search", 3), ("greedy search", 1)):
        with exact(subject.device):
            here, there = (
                evaluate(subject.run(TRAINED, device, f"generation.num_beams={beams}"), "test", cache).hypotheses
                for device in ("cpu", subject.device)
            )
        pairs = list(zip(there, here, strict=True))
        # Sentences that are equally probable may change places.
        yield Finding(f"{name}: sentences that differ from the CPU's", sum(a.texts != b.texts for a, b in pairs))
        difference = max(abs(a.scores[0] - b.scores[0]) for a, b in pairs)
        yield Finding(f"{name}: largest difference of a score from the CPU's", difference, at_most=SCORE)


CHECK = Check("search", "Greedy and beam search translate the test clips from the cache.", _check)
