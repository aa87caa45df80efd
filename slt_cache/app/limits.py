"""Limits on what the page accepts from strangers."""

import multiprocessing
import sys
from dataclasses import dataclass
from pathlib import Path

DECODER_FRAMES = 40
"""Approximate number of frames that a decoder, its threads and its queue hold."""
DECODER_BYTES = 1_000_000_000
"""Memory for everything else that reading a video needs."""


@dataclass(frozen=True)
class Limits:
    """Limits on the page's input; each is an option of `slt-cache app`."""

    megabytes: int = 100
    """Largest size of a file."""
    total_megabytes: int = 1000
    """Largest total size of files that are being sent or wait for an answer."""
    seconds: float = 60.0
    """Largest length of a video."""
    megapixels: float = 9.0
    """Largest frame, width x height; 4096 x 2160 is 8.8."""
    gigapixels: float = 16.0
    """Largest video, width x height x frames; a minute of 3840 x 2160 at 30 frames per second is 14.9."""
    waiting: int = 16
    """Most videos that may wait for their turn."""


def limit_memory(limits: Limits) -> None:
    """Limits the memory of this process, which reads a video for the page, so that it fails before the machine does.
    Does nothing in the page's own process, and on systems that do not report a process's memory."""
    sizes = Path("/proc/self/statm")
    if multiprocessing.parent_process() is None or sys.platform == "win32" or not sizes.is_file():
        return
    import resource

    used = int(sizes.read_text().split()[0]) * resource.getpagesize()
    most = used + DECODER_BYTES + round(DECODER_FRAMES * 3 * limits.megapixels * 1e6)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
