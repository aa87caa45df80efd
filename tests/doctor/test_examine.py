"""Checks that pass, fail, raise and cannot be made: what is printed, and the exit code."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from slt_cache.config import load_config
from slt_cache.doctor import registry
from slt_cache.doctor.base import Check, Finding, Subject
from slt_cache.runs.run import Run
from tests.helpers.caches import DIM, add_split, facts_of, rows_of
from tests.helpers.commands import Ran, slt_cache
from tests.helpers.made_run import make_run


class Refusing(TorchDispatchMode):
    """A device that is broken: it refuses one operation."""

    def __init__(self, operation: str):
        super().__init__()  # type: ignore[no-untyped-call]  # torch gives it no types
        self.operation = operation

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operation._schema.name == f"aten::{self.operation}":
            raise RuntimeError(f"the device refuses {self.operation}\nand says more")
        return operation(*args, **(kwargs or {}))


def doctor(out: Path, *checks: str) -> tuple[Ran, dict[str, Any]]:
    chosen = [part for check in checks for part in ("--check", check)]
    ran = slt_cache("doctor", "--device", "cpu", "--out", out, "--json", *chosen)
    return ran, json.loads(ran.out)


def passes(subject: Subject) -> Iterator[Finding]:
    yield Finding("difference", 0.5, at_most=0.5)
    yield Finding("frames per second", 1234.5)


def is_too_slow(subject: Subject) -> Iterator[Finding]:
    yield Finding("difference", 0.1, at_most=0.5)
    yield Finding("time of a step", 2.5, at_most=1.25)


def has_no_number(subject: Subject) -> Iterator[Finding]:
    yield Finding("loss", math.nan, at_most=1.0)


def raises(subject: Subject) -> Iterator[Finding]:
    yield Finding("copies", 0, at_most=0)
    raise ZeroDivisionError("no such kernel\nof this device")


def cannot_be_made(subject: Subject) -> Iterator[Finding]:
    yield Finding("NCCL", not_checked="takes two GPUs")


FUNCTIONS = (passes, is_too_slow, has_no_number, raises, cannot_be_made)
CHECKS = {one.__name__: Check(one.__name__, f"It {one.__name__}.", one) for one in FUNCTIONS}


def test_a_check_that_fails_or_raises_is_named_and_the_others_still_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "CHECKS", CHECKS)
    ran, found = doctor(tmp_path)
    assert ran.code == 1
    assert not found["ok"]
    assert found["failed"] == ["is_too_slow", "has_no_number", "raises"]
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert states["passes"] == "passed"
    assert states["cannot_be_made"] == "not checked"
    assert found["not_checked"] == [{"check": "cannot_be_made", "what": "NCCL", "reason": "takes two GPUs"}]
    [broken] = [check for check in found["checks"] if check["name"] == "raises"]
    assert broken["error"] == "ZeroDivisionError: no such kernel"
    assert "in raises" in broken["traceback"]
    assert [one["name"] for one in broken["findings"]] == ["copies"]
    assert json.loads((tmp_path / "doctor.json").read_text())["checks"] == found["checks"]
    page = (tmp_path / "doctor.html").read_text()
    assert "time of a step: 2.5 (at most 1.25)" in page and "no such kernel" in page and "takes two GPUs" in page


def test_without_json_each_value_stands_next_to_its_limit_and_the_verdict_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "CHECKS", CHECKS)
    ran = slt_cache("doctor", "--device", "cpu", "--out", tmp_path)
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert "  difference: 0.5 (at most 0.5)" in lines and "  frames per second: 1,234" in lines
    assert lines[-6:] == [
        "not checked: cannot_be_made, NCCL: takes two GPUs",
        "FAILED is_too_slow: time of a step: 2.5 (at most 1.25)",
        "FAILED has_no_number: loss: nan (at most 1)",
        "FAILED raises: ZeroDivisionError: no such kernel",
        "1 of 5 checks passed on cpu",
        f"{tmp_path / 'doctor.html'}, {tmp_path / 'doctor.json'}",
    ]


def test_a_device_that_refuses_an_operation_fails_the_check_that_needs_it(tmp_path: Path) -> None:
    whole, found = doctor(tmp_path, "device")
    assert (whole.code, found["ok"], found["failed"], found["machine"]["device"]) == (0, True, [], "cpu")
    assert found["machine"]["torch"] == torch.__version__.partition("+")[0] or "+" in found["machine"]["torch"]
    with Refusing("mm"):
        broken, found = doctor(tmp_path, "device")
    assert (broken.code, found["failed"]) == (1, ["device"])
    assert found["checks"][0]["error"] == "RuntimeError: the device refuses mm"


def test_a_gpu_that_is_not_one_fails_its_checks_in_a_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    ran = slt_cache("doctor", "--device", "cuda", "--check", "device", "--out", tmp_path, "--json")
    assert (ran.code, json.loads(ran.out)["failed"]) == (1, ["device"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--check", "telepathy"), "--check telepathy: no such check. Use device, stage-1, extraction, "),
        (("--device", "cuda:7"), "compute.device 'cuda:7': this machine has none."),
        (("--out", "taken"), "taken"),
    ],
)
def test_what_it_is_asked_in_vain_is_refused_at_once(
    words: tuple[str, str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    ran = slt_cache("doctor", *words)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert not Path("doctor", "doctor.json").exists()


def test_a_check_of_a_trained_run_fails_alone_if_the_device_refuses_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", "mbart", f"encoder.dim={DIM}")
    add_split(run / "feats.h5", rows_of(), facts_of("test"))
    monkeypatch.setattr(Subject, "trained", Run(run, load_config(str(run / "config.yaml"))))
    ran, found = doctor(tmp_path, "device", "attention")
    assert (ran.code, found["failed"]) == (0, []), found
    with Refusing("_softmax"):
        ran, found = doctor(tmp_path, "device", "attention")
    assert (ran.code, found["failed"]) == (1, ["attention"])


@pytest.mark.slow
def test_only_the_checks_that_need_a_refused_operation_fail(tmp_path: Path) -> None:
    """Beam search alone takes the best of all continuations."""
    with Refusing("topk"):
        ran, found = doctor(tmp_path, "device", "stage-1", "extraction", "search", "attention")
    assert (ran.code, found["failed"]) == (1, ["search"]), ran.err
    [search] = [check for check in found["checks"] if check["name"] == "search"]
    assert "refuses topk" in search["error"]


def require_passed(ran: Ran) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.out)
    assert ran.code == 0, [check for check in found["checks"] if check["state"] == "failed"]
    assert {check["name"] for check in found["checks"]} == set(registry.CHECKS)
    return found


@pytest.mark.slow
def test_all_checks_pass_on_the_cpu_and_say_what_takes_a_gpu(tmp_path: Path) -> None:
    found = require_passed(slt_cache("doctor", "--device", "cpu", "--out", tmp_path, "--json"))
    assert {(one["check"], one["what"]) for one in found["not_checked"]} >= {
        ("precision", "tf32"),
        ("precision", "fp16"),
        ("memory", "bf16"),
        ("processes", "two GPUs with NCCL"),
    }
    [corpora] = [check for check in found["checks"] if check["name"] == "corpora"]
    phoenix = corpora["findings"][0]["value"]
    assert phoenix["clips"] == 7096 + 519 + 642
    assert phoenix["features_gb"] == pytest.approx(947_756 / 4 * 512 * 2 / 1e9, rel=0.1)


@pytest.mark.gpu
def test_all_checks_pass_on_the_gpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no NVIDIA GPU")
    found = require_passed(slt_cache("doctor", "--device", "cuda", "--out", tmp_path, "--json"))
    assert found["machine"]["gpus"]
