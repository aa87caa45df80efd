"""Versions and devices of this machine, for the report. Nothing here fails on a broken device."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from slt_cache import __version__
from slt_cache.device import under_load
from slt_cache.reading import first_line
from slt_cache.threads import available_cores

PACKAGES = (
    *("torch", "torchvision", "transformers", "accelerate", "peft", "safetensors", "numpy", "h5py"),
    *("av", "decord", "torchcodec", "sacrebleu", "bitsandbytes"),
)


def machine(device: torch.device) -> dict[str, Any]:
    """Returns versions and devices by name; of a package that is not installed, None."""
    return {
        "device": str(device),
        "slt-cache": __version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "cuda": torch.version.cuda,
        "cudnn": str(torch.backends.cudnn.version()) if torch.version.cuda else None,
        "system": platform.platform(),
        "processor": _processor(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": _memory(),
        "gpus": _gpus(),
        **under_load(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Returns the name of the processor, as Linux has it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123  # no file of ours
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _memory() -> float | None:
    if not hasattr(os, "sysconf"):  # Windows
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)


def _gpus() -> list[str]:
    """Returns the name, memory and compute capability of each GPU, or why it cannot be asked."""
    found = []
    for number in range(torch.cuda.device_count()):
        try:
            gpu = torch.cuda.get_device_properties(number)
            found.append(f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB, compute capability {gpu.major}.{gpu.minor}")
        except (RuntimeError, AssertionError) as error:
            found.append(f"cuda:{number}: {first_line(error)}")
    return found
