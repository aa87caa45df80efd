"""Check: training steps take little more time than the bare backbone and the bare LLM."""

from collections.abc import Iterator

from slt_cache.bench.llm import bench_llm
from slt_cache.bench.measure import RUN
from slt_cache.bench.visual import bench_visual
from slt_cache.doctor.base import TRAINED, Check, Finding, Subject
from slt_cache.threads import available_cores

LARGE = "mbart-large"
"""The LLM on a GPU, with random weights; a CPU takes the small one of the checks."""
BATCHES = 2
OF_BACKBONE, OF_LLM = 1.5, 1.15
"""Largest ratios on a GPU of a step's time to that of the bare backbone, and to that of the bare LLM."""
ON_GPU = ("video.resize=256", "video.size=224", "visual_training.batch_size=8")
ON_CPU = ("video.resize=72", "video.size=64")


def _check(subject: Subject) -> Iterator[Finding]:
    _ = subject.trained
    workers = f"compute.workers={min(8, available_cores()) if subject.on_gpu else 0}"
    sizes = ON_GPU if subject.on_gpu else ON_CPU
    pixels = bench_visual(subject.run(TRAINED, subject.device, workers, *sizes), BATCHES)
    yield Finding("stage 1: kept frames per second", pixels["frames_per_second"])
    yield Finding("stage 1: kept frames per second of the bare backbone", pixels["frames_per_second_bare"])
    cached = pixels["frames_per_second_bare"] / pixels["frames_per_second_cached"]
    name = "stage 1: time of a step, relative to the bare backbone"
    yield Finding(f"{name}, from videos", pixels["ratio_to_bare"])
    yield Finding(f"{name}, from cached frames", cached, subject.limit_of_time(OF_BACKBONE))
    yield Finding("stage 1: share of the time in which it waits for frames", pixels["waiting_share"])
    shape = LARGE if subject.on_gpu else RUN
    steps = bench_llm(subject.run(TRAINED, subject.device), None, shape, BATCHES, briefly=True)
    yield Finding("stage 2: parameters of the LLM", steps["parameters"])
    yield Finding("stage 2: seconds of a step from the cache", steps["seconds_from_cache"] / steps["batches_timed"])
    ratio = steps["step_to_bare_llm"]
    yield Finding("stage 2: time of a step, relative to the bare LLM", ratio, subject.limit_of_time(OF_LLM))


CHECK = Check("training-speed", "Steps of both stages against the bare backbone and the bare LLM.", _check)
