"""The device that a setting names."""

from typing import TYPE_CHECKING

from slt_cache.errors import InputError

if TYPE_CHECKING:
    import torch


def pick_device(name: str) -> "torch.device":
    """`auto` takes the first of cuda, mps and cpu that is there. Raises InputError for one that is not."""
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(
            f"compute.device {name!r}: no such kind of device. Use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False) or (device.index or 0) >= max(torch.cuda.device_count(), 1):
        raise InputError(f"compute.device {name!r}: this machine has none. Use --device auto or --device cpu.")
    return device
