"""All checks, in the order in which they run."""

from collections.abc import Sequence

from slt_cache.doctor import (
    attention,
    corpora,
    decoder_only,
    device,
    extraction,
    extraction_speed,
    joint,
    lora,
    memory,
    precision,
    processes,
    resume,
    search,
    stage_1,
    stage_2,
    training_speed,
)
from slt_cache.doctor.base import Check
from slt_cache.errors import InputError

CHECKS = {
    one.CHECK.name: one.CHECK
    for one in (
        *(device, stage_1, extraction, stage_2, decoder_only, lora, joint, search, attention, resume, precision),
        *(memory, processes, extraction_speed, training_speed, corpora),
    )
}


def checks_named(names: Sequence[str]) -> list[Check]:
    """Returns the checks of these names, in the order of the registry; all if there are none. Raises InputError for an
    unknown name."""
    for name in names:
        if name not in CHECKS:
            raise InputError(f"--check {name}: no such check. Use {', '.join(CHECKS)}.")
    return [check for name, check in CHECKS.items() if not names or name in names]
