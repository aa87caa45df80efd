"""What the page takes from strangers at most."""

import multiprocessing
import sys
from dataclasses import dataclass
from pathlib import Path

DECODER_FRAMES = 40
"""That a decoder, its threads and the queue behind it hold at most, about."""
DECODER_BYTES = 1_000_000_000
"""For all else that reading a video takes."""


@dataclass(frozen=True)
class Limits:
    """Limits of what is given to the page; each is an option of `slt-cache app`."""

    megabytes: int = 100
    """Of a file."""
    total_megabytes: int = 1000
    """Of all files that wait for their answer or are being sent."""
    seconds: float = 60.0
    """Of a video."""
    megapixels: float = 9.0
    """Of a frame, width x height; 4096 x 2160 is 8.8."""
    gigapixels: float = 16.0
    """Of a video, width x height x frames; a minute of 3840 x 2160 at 30 frames a second is 14.9."""
    waiting: int = 16
    """Videos that may wait for their turn."""


def limit_memory(limits: Limits) -> None:
    """Has this process, one that reads a video for the page, fail for want of memory before the machine does. Does
    nothing in the page's own process, and on systems that do not say what a process has."""
    sizes = Path("/proc/self/statm")
    if multiprocessing.parent_process() is None or sys.platform == "win32" or not sizes.is_file():
        return
    import resource

    used = int(sizes.read_text().split()[0]) * resource.getpagesize()
    most = used + DECODER_BYTES + round(DECODER_FRAMES * 3 * limits.megapixels * 1e6)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
