"""Check: two processes train what one does, on two GPUs with NCCL if there are two."""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from slt_cache.children import end_program, ending, last_line, start_program
from slt_cache.config import save_config
from slt_cache.doctor.base import Check, Finding, Subject, against_cpu
from slt_cache.errors import SltCacheError
from slt_cache.runs.run import Run

LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "slt_cache", "--")
LOSSES = {"cpu": 1e-4, "cuda": 5e-3}
"""Largest relative difference of an epoch's mean loss, by device: processes on GPUs may use TF32."""


def _check(subject: Subject) -> Iterator[Finding]:
    gpus = torch.cuda.device_count() if subject.on_gpu else 0
    devices = ["cpu", *(["cuda"] if gpus > 1 else [])]
    for device in devices:
        run = subject.run(f"two-{device}", device)
        _train(run)
        for found in against_cpu(run.visual, subject.trained.visual, LOSSES[device]):
            yield Finding(f"two processes on {device}, {found.name}", found.value, found.at_most)
    if gpus < 2:
        yield Finding("two GPUs with NCCL", not_checked=f"takes two GPUs; {gpus or 'no'} GPU is used here")


def _train(run: Run) -> None:
    """Runs stage 1 in two processes. Raises SltCacheError, with the last line that they print, if they fail."""
    config, output = run.folder.with_suffix(".yaml"), run.folder.with_suffix(".log")
    save_config(run.config, config)
    words = [sys.executable, *LAUNCH, "train-visual", "--config", str(config), "--run", str(run.folder)]
    with output.open("w+b") as file:
        process = start_program(words, stdout=file, stderr=file)
        try:
            code = process.wait()
        finally:
            end_program(process)
        if code:
            raise SltCacheError(f"torchrun {ending(code)}: {_reason(output)}")


def _reason(output: Path) -> str:
    """Returns the message of the first process that failed, or else the last line."""
    errors = [line for line in output.read_text(errors="replace").splitlines() if "error:" in line.lower()]
    with output.open("rb") as file:
        return errors[0].strip() if errors else last_line(file)


CHECK = Check("processes", "torchrun trains stage 1 in two processes as one process does.", _check)
