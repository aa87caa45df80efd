"""Choice of the device that a setting names, copies to and from it beside other work, its peak memory, and a look at
whether other programs keep the machine busy."""

import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from slt_cache.errors import InputError
from slt_cache.threads import available_cores

if TYPE_CHECKING:
    import torch

STATUS = Path("/proc/self/status")
"""What Linux tells of this process."""


def pick_device(name: str, precision: str = "fp32", setting: str = "compute.precision") -> "torch.device":
    """Returns the named device. `auto` takes the first available of cuda, mps and cpu; processes started by torchrun on
    one machine each take a GPU of their own. Raises InputError for a device that is unavailable or lacks the precision,
    which `setting` gave."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        name = f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(
            f"compute.device {name!r}: no such kind of device. Use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False) or (device.index or 0) >= max(torch.cuda.device_count(), 1):
        raise InputError(f"compute.device {name!r}: this machine has none. Use --device auto or --device cpu.")
    if precision == "fp16" and device.type == "cpu":
        raise InputError(f"{setting} fp16: not on a CPU. Use fp32 or bf16, or a GPU.")
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # accelerate trains on the current one
    return device


def moved(tensor: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """Returns the tensor on a device. This process does not wait for a GPU, which copies pinned memory while it
    computes; such memory must not change, but may be freed."""
    if device.type != "cuda" or tensor.device.type != "cpu" or not tensor.is_pinned():
        return tensor.to(device, non_blocking=device.type == "cuda")
    import torch

    copies, computation = _stream_of_copies(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copies):
        copy = tensor.to(device, non_blocking=True)
    computation.wait_stream(copies)
    copy.record_stream(computation)  # else its memory might be used again too early
    return copy


@cache
def _stream_of_copies(device: "torch.device") -> "torch.cuda.Stream":
    import torch

    return torch.cuda.Stream(device)


class Readback:
    """Copy of a tensor for this process, which a GPU makes as soon as the tensor is computed, whatever it is given to
    do after that."""

    def __init__(self, tensor: "torch.Tensor"):
        """Queues the copy."""
        import torch

        on_gpu = tensor.device.type == "cuda"
        self._copy = tensor.to("cpu", non_blocking=on_gpu)
        self._made = torch.cuda.Event() if on_gpu else None
        if self._made is not None:
            self._made.record()

    def values(self) -> list[float]:
        """Waits for the copy and returns the numbers of a tensor [n]."""
        if self._made is not None:
            self._made.synchronize()
        values: list[float] = self._copy.tolist()
        return values


def reset_peak_memory(device: "torch.device") -> None:
    """Makes `peak_memory` start from what is in use now. Other systems than Linux cannot do so for a process."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: "torch.device") -> int:
    """Returns the peak bytes allocated on a GPU, or resident in this process for other devices, which includes Python
    and torch."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    peak = status_bytes("VmHWM")  # on Linux ru_maxrss of a new program starts at that of its parent
    if peak is not None:
        return peak
    import resource  # not on Windows

    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


def status_bytes(name: str) -> int | None:
    """Returns a number of bytes that Linux tells of this process, such as its peak `VmHWM`; None if it does not."""
    if not STATUS.is_file():
        return None
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024 if name in lines else None


def under_load(workers: int = 0) -> dict[str, str]:
    """Returns a note to print after timings if the machine is busier than this program, with all cores and `workers`
    reading processes, can make it; else nothing."""
    cores = available_cores()
    if not hasattr(os, "getloadavg"):  # Windows
        return {}
    load = os.getloadavg()[0]
    if load <= cores + workers:
        return {}
    return {"under_load": f"load average {load:.1f} on {cores} cores: on an idle machine it takes less time"}
