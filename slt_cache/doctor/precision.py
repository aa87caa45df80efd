"""Check: each precision gives the CPU's numbers in float32, as closely as its digits allow."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from slt_cache.doctor.base import LOSSES, TRAINED, Check, Finding, Subject, against_cpu, exact, feature_difference
from slt_cache.pipeline.extract import extract
from slt_cache.pipeline.train_visual import train_visual


@dataclass(frozen=True)
class Mode:
    """A way to compute, with the relative differences that it may show."""

    loss: float
    """That of the mean losses of the epochs of stage 1."""
    features: float
    """That of the features, which are kept in float16."""
    precision: str = "fp32"
    tf32: bool = False
    on_cpu: bool = False
    """Whether a CPU has it."""


MODES = {
    "fp32": Mode(loss=LOSSES, features=2e-3),
    "tf32": Mode(loss=5e-3, features=1e-2, tf32=True),
    "bf16": Mode(loss=1e-2, features=5e-2, precision="bf16", on_cpu=True),
    "fp16": Mode(loss=5e-2, features=1e-2, precision="fp16"),  # the loss scaler skips the first steps
}


def _check(subject: Subject) -> Iterator[Finding]:
    trained = subject.trained
    modes = {name: mode for name, mode in MODES.items() if name != "fp32" or subject.on_gpu}  # other checks have it
    for name, mode in modes.items():
        if not (subject.on_gpu or mode.on_cpu):
            yield Finding(name, not_checked="takes a GPU")
            continue
        settings = (f"compute.precision={mode.precision}", f"features.precision={mode.precision}")
        run = subject.run(f"stage-1-{name}", subject.device, *settings)
        cache = subject.folder / f"{name}.h5"
        with exact(subject.device):
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode.tf32
            train_visual(run)
            extract(subject.run(TRAINED, subject.device, *settings), ["dev"], cache)
        for found in against_cpu(run.visual, trained.visual, mode.loss):
            yield Finding(f"{name}, {found.name}", found.value, found.at_most)
        difference = feature_difference(cache, trained.features)
        yield Finding(f"{name}, features: relative difference from the CPU's in float32", difference, mode.features)


CHECK = Check("precision", "Training and features in fp32, TF32, bf16 and fp16.", _check)
