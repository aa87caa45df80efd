"""How many threads torch uses on a CPU, and how they wait for each other. Set in the environment, which OpenMP reads
only once: call before torch is imported.

By default, a thread that waits for another one spins for milliseconds. If other programs keep the machine busy, the
other thread is not even running, and a training spends most of its processor time on that."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SPINS = 10_000
"""Checks before a waiting thread sleeps (some hundred microseconds): enough for the gaps between the small steps of a
training, which a tenth of it is not, and short compared with the time slices of a busy machine. GCC's OpenMP checks
300,000 times by default."""
NONE = 0
"""No spinning at all, which suits the frozen encoder: its steps are large, and spinning threads take the cores from the
processes that read videos."""
CHOSEN_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
GROUPS = Path("/sys/fs/cgroup")
"""Control groups of Linux, by which containers and SLURM limit a program's share of the processors."""

_set_here: dict[str, str] = {}
"""What the last call of `set_up_threads` has set."""


def available_cores() -> int:
    """Returns the number of processor cores that this process may use, by its affinity and its control group's
    quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cores, *(max(1, math.ceil(quota)) for quota in _quotas())])


def set_up_threads(spins: int = SPINS) -> None:
    """Gives torch no more threads than there are cores for it, and limits how long they spin. The user's environment
    takes precedence; what an earlier call has set does not."""
    if all(os.environ.get(name) in (None, _set_here.get(name)) for name in CHOSEN_BY_USER):
        _set_here["GOMP_SPINCOUNT"] = str(spins)
        _set_here["KMP_BLOCKTIME"] = "0" if spins == NONE else "1"  # milliseconds; for LLVM's and Intel's OpenMP
        os.environ.update(_set_here)
    if list(_quotas()):  # torch considers the affinity itself
        os.environ.setdefault("OMP_NUM_THREADS", str(available_cores()))


def _quotas() -> Iterator[float]:
    """Yields the processor quotas of the control groups that this process is in, in cores."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            inner = GROUPS / (controllers and "cpu") / name.lstrip("/")
            for folder in (inner, *inner.parents):
                if folder in GROUPS.parents:
                    break
                yield from _quota(folder)


def _quota(folder: Path) -> Iterator[float]:
    """Yields the quota of one control group, if it has one: version 2 writes `cpu.max`, version 1 two files."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        if quota != "max":
            yield int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(quota) > 0:
            yield int(quota) / int(period)
