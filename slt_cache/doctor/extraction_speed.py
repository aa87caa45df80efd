"""Check: extraction is as fast as the slower of decoding and the bare backbone."""

from collections.abc import Iterator

from slt_cache.bench.extract import bench_extract
from slt_cache.config import load_config
from slt_cache.doctor.base import Check, Finding, Subject
from slt_cache.threads import available_cores

CLIPS, ON_CPU = 48, 6
"""Videos of 116 frames, on a GPU and on a CPU."""
ROUNDS = 3
RATIO = 1.25
"""Largest ratio on a GPU of the time of extraction to that of the slower of the two."""
SMALLER = ("video.resize=128", "video.size=112")
"""Settings for a CPU, which takes four times as long at 224 pixels."""


def _check(subject: Subject) -> Iterator[Finding]:
    workers = min(8, available_cores())
    settings = [f"compute.device={subject.device}", f"compute.workers={workers}", "light_t.size=tiny"]
    config = load_config("paper", [*settings, *(() if subject.on_gpu else SMALLER)])
    clips, rounds = (CLIPS, ROUNDS) if subject.on_gpu else (ON_CPU, 1)
    values = bench_extract(config, None, clips, rounds)
    waiting = max(0.0, 1 - values["forward_seconds"] / values["extract_seconds"])
    yield Finding("kept frames per second", values["kept_frames_per_second"])
    yield Finding("frames per second of decoding alone", values["kept_frames"] / values["decode_seconds"])
    yield Finding("frames per second of the backbone alone", values["kept_frames"] / values["forward_seconds"])
    yield Finding(
        f"time of extraction, relative to {values['ratio_to']}", values["ratio"], subject.limit_of_time(RATIO)
    )
    yield Finding("share of the time in which the backbone waits", waiting)


CHECK = Check("extraction-speed", "Extraction takes no longer than its slower half: decoding or the backbone.", _check)
