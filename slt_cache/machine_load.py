"""Detection of other programs that slow the machine down while something is timed."""

import os


def under_load(workers: int = 0) -> dict[str, str]:
    """Returns a note to print after timings if the machine is busier than this program, with all cores and `workers`
    reading processes, can make it; else nothing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not hasattr(os, "getloadavg"):  # Windows
        return {}
    load = os.getloadavg()[0]
    if load <= cores + workers:
        return {}
    return {"under_load": f"load average {load:.1f} on {cores} cores: on an idle machine it takes less time"}
