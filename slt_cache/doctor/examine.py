"""Runs the checks one after another, whatever becomes of each, and returns what they found."""

import math
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from slt_cache.device import pick_device
from slt_cache.distributed.processes import join, size
from slt_cache.doctor.base import FAILED, NOT_CHECKED, PASSED, Check, Finding, Subject
from slt_cache.doctor.machine import machine
from slt_cache.doctor.registry import checks_named
from slt_cache.errors import InputError, SltCacheError
from slt_cache.files import scratch_folder
from slt_cache.progress import log
from slt_cache.reading import first_line


@dataclass(frozen=True)
class Result:
    """What became of a check."""

    check: Check
    findings: tuple[Finding, ...]
    seconds: float
    error: str = ""
    """Why it ended early."""
    details: str = ""
    """Traceback of the error."""

    @property
    def state(self) -> str:
        if self.error or not all(found.passed for found in self.findings):
            return FAILED
        measured = [found for found in self.findings if not found.not_checked]
        return PASSED if measured or not self.findings else NOT_CHECKED

    @property
    def wrong(self) -> list[str]:
        """Lines that say what failed."""
        beyond = [finding_text(found) for found in self.findings if not found.passed]
        return [*beyond, *([self.error] if self.error else [])]


@dataclass(frozen=True)
class Diagnosis:
    """Results of all checks, and the machine that they ran on."""

    machine: dict[str, Any]
    results: tuple[Result, ...]

    @property
    def failed(self) -> list[str]:
        return [result.check.name for result in self.results if result.state == FAILED]

    @property
    def not_checked(self) -> list[tuple[str, Finding]]:
        return [(one.check.name, found) for one in self.results for found in one.findings if found.not_checked]

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": not self.failed,
            "failed": self.failed,
            "not_checked": [
                {"check": check, "what": found.name, "reason": found.not_checked} for check, found in self.not_checked
            ],
            "machine": self.machine,
            "checks": [_to_json(result) for result in self.results],
        }

    def lines(self) -> list[str]:
        """Returns the diagnosis as text."""
        known = {name: value for name, value in self.machine.items() if value not in (None, [])}
        lines = [f"{name:<14}{value_text(value)}" for name, value in known.items()]
        for result in self.results:
            lines += ["", f"{result.check.name}: {result.state} ({result.seconds:.0f} s). {result.check.about}"]
            lines += [f"  {finding_text(found)}" for found in result.findings]
            lines += [f"  {result.error}"] if result.error else []
        return [*lines, "", *self.verdict()]

    def verdict(self) -> list[str]:
        """Returns what was not checked, and which checks failed."""
        lines = [f"not checked: {check}, {found.name}: {found.not_checked}" for check, found in self.not_checked]
        lines += [f"FAILED {one.check.name}: {'; '.join(one.wrong)}" for one in self.results if one.state == FAILED]
        passed = sum(one.state == PASSED for one in self.results)
        return [*lines, f"{passed} of {len(self.results)} checks passed on {self.machine['device']}"]


def _to_json(result: Result) -> dict[str, Any]:
    return {
        "name": result.check.name,
        "about": result.check.about,
        "state": result.state,
        "seconds": round(result.seconds, 1),
        "findings": [
            {"name": found.name, "value": _in_json(found.value), "at_most": found.at_most, "passed": found.passed}
            for found in result.findings
            if not found.not_checked
        ],
        **({"error": result.error, "traceback": result.details} if result.error else {}),
    }


def _in_json(value: Any) -> Any:
    """Returns a value as JSON has it, which has no infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def finding_text(found: Finding) -> str:
    if found.not_checked:
        return f"{found.name}: {NOT_CHECKED}, {found.not_checked}"
    limit = "" if found.at_most is None else f" (at most {value_text(found.at_most)})"
    return f"{found.name}: {value_text(found.value)}{limit}"


def value_text(value: Any) -> str:
    """Returns a value of a finding as it is shown."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {value_text(one)}" for name, one in value.items())
    if isinstance(value, list):
        return "; ".join(map(value_text, value))
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def examine(device: str, names: Sequence[str] = ()) -> Diagnosis:
    """Runs the checks of these names, or all, on a device, in a temporary folder. Raises InputError for an unknown
    check, a device that this machine lacks, and several processes."""
    checks = checks_named(names)
    picked = pick_device(device)
    join()
    if size() > 1:
        raise InputError(f"doctor: runs as one process, but {size()} were started. Start it without torchrun.")
    results = []
    with scratch_folder() as folder:
        subject = Subject(picked, folder)
        for number, check in enumerate(checks, 1):
            log(f"[{number}/{len(checks)}] {check.name}: {check.about}")
            results.append(_result(check, subject))
            log(f"[{number}/{len(checks)}] {check.name}: {results[-1].state} ({results[-1].seconds:.0f} s)")
    return Diagnosis(machine(picked), tuple(results))


def _result(check: Check, subject: Subject) -> Result:
    """Runs a check. Any error of it is a failure, and keeps no other check from running."""
    found: list[Finding] = []
    error = details = ""
    begun = time.monotonic()
    try:
        found.extend(check.run(subject))
        if subject.on_gpu:
            torch.cuda.synchronize(subject.device)  # a kernel may fail later
    except Exception as raised:
        kind = "" if isinstance(raised, SltCacheError) else f"{type(raised).__name__}: "
        error, details = f"{kind}{first_line(raised)}", traceback.format_exc()
    return Result(check, tuple(found), time.monotonic() - begun, error, details)
