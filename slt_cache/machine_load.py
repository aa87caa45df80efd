"""Whether other programs keep the machine busy while something is timed."""

import os


def under_load(workers: int = 0) -> dict[str, str]:
    """Returns a figure to print beside timings if the machine is busier than this program alone can make it, with all
    cores and so many reading processes; else none."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not hasattr(os, "getloadavg"):  # Windows
        return {}
    load = os.getloadavg()[0]
    if load <= cores + workers:
        return {}
    return {"under_load": f"load average {load:.1f} on {cores} cores: on an idle machine it takes less time"}
