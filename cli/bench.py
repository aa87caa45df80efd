"""`bench`: measured ratios, one flat object each."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slt_cache.threads import NONE

from .help import Program
from .options import RUN_OPTIONS, Options, keep_few_kernels, takes

if TYPE_CHECKING:
    from slt_cache.runs.run import Run


@takes("cache", "features", *RUN_OPTIONS, "device", "json")
def cache(options: Options) -> None:
    """Time a stage-2 epoch from the cache against one that runs the frozen encoder again.

    Example: slt-cache bench cache
    """
    keep_few_kernels()
    from slt_cache.bench.cache import bench_cache

    opened = options.open_run()
    _print(options, bench_cache(opened, _features(options, opened)), opened.config.compute.readers)


@takes("contention", "config", "settings", "device", "json")
def contention(
    options: Options,
    neighbours: Annotated[
        int | None, typer.Option("--neighbours", min=1, help="Number of busy programs. [default: one per core]")
    ] = None,
) -> None:
    """Time one epoch of each stage, decoding and extraction alone and next to busy programs.

    Runs in a temporary folder and ends the programs that it starts. Without --config, the demo corpus (some minutes).

    Example: slt-cache bench contention --set corpus.clips=100
    """
    keep_few_kernels()
    from slt_cache.bench.contention import bench_contention

    opened = replace(options, config=options.config or "avatar").open_run()
    _print(options, bench_contention(opened.config, neighbours), opened.config.compute.readers)


@takes("extract", "config", "settings", "device", "json", spins=NONE)
def extract(
    options: Options,
    videos: Annotated[
        Path | None,
        typer.Option("--videos", help="Folder of videos. [default: H.264 files of 256 pixels, made for this]"),
    ] = None,
    clips: Annotated[int, typer.Option("--clips", min=1, help="Largest number of videos.")] = 48,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder", help="Encoder as for extract-features, with random weights. [default: that of stage 1]"
        ),
    ] = None,
) -> None:
    """Time extraction against its limits: reading the kept frames alone, and the bare backbone alone.

    Without --config, the paper's settings: 224 pixels, one frame in four.

    Example: slt-cache bench extract --clips 16
    """
    from slt_cache.bench.extract import bench_extract

    own = [] if encoder is None else [f"encoder.name={encoder}"]
    opened = replace(options, config=options.config or "paper").open_run(own=own)
    _print(options, bench_extract(opened.config, videos, clips), opened.config.compute.readers)


@takes("llm", "features", *RUN_OPTIONS, "device", "json")
def llm(
    options: Options,
    shape: Annotated[str, typer.Option("--shape", help="The LLM: that of the run, mbart-large or gemma-270m.")] = "run",
    batches: Annotated[
        int | None,
        typer.Option("--batches", min=1, help="Batches of an epoch. [default: all; 8 for another --shape]"),
    ] = None,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Only measure the memory of a step, of MBart-large or --shape; needs no run."),
    ] = False,
) -> None:
    """Time steps of stage 2: from the cache, with the encoder run again, and the bare LLM in memory.

    A step is forward, loss, backward, clipping (if set) and the optimizer's step, for the bare LLM too. gemma-270m
    trains LoRA of rank 16 on all linear layers, unless llm.lora is set. With another --shape, a step on a made-up batch
    (16 clips of 50 steps and 20 tokens) is timed too, with its peak memory; this needs no run.

    Example: slt-cache bench llm --shape gemma-270m
    """
    opened = options.open_run()
    if memory:
        from slt_cache.bench.memory import bench_memory

        _print(options, bench_memory(opened.config, shape))
        return
    from slt_cache.bench.llm import bench_llm

    cache = None if options.features is None else opened.find_features(options.features)
    measured = bench_llm(opened, cache, shape, batches)
    _print(options, measured, opened.config.compute.readers)


@takes("scale", "config", "settings", "json")
def scale(
    options: Options,
    clips: Annotated[int, typer.Option("--clips", min=10, help="Number of clips.")] = 1_000_000,
) -> None:
    """Measure time and memory per clip of what handles all clips of a corpus at once, from the plan of an extraction to
    an epoch of stage 2's batches.

    Clips, sentences and features of 8 channels are made up in a temporary folder (3 GB for a million clips, TMPDIR). As
    long as the clips of YouTube-SL-25: a million have 3,000 hours. Each step is also measured for a tenth of the clips,
    and the difference counts per clip.

    Example: slt-cache bench scale --clips 10000
    """
    from slt_cache.bench.scale import bench_scale

    opened = replace(options, config=options.config or "youtube_sl_25").open_run()
    _print(options, bench_scale(opened.config, clips))


@takes("visual", *RUN_OPTIONS, "device", "json")
def visual(
    options: Options,
    batches: Annotated[
        int | None,
        typer.Option("--batches", min=2, help="Batches of an epoch. [default: 20, or all if fewer]"),
    ] = None,
) -> None:
    """Time steps of stage 1 over real videos against the bare backbone; say whether video.frame_cache pays.

    Needs no training; draws the demo corpus if there is none.

    Example: slt-cache bench visual --batches 10
    """
    keep_few_kernels()
    from slt_cache.bench.visual import bench_visual

    opened = options.open_run(draws=True)
    _print(options, bench_visual(opened, batches), opened.config.compute.readers)


def _features(options: Options, opened: "Run") -> Path:
    return opened.features if options.features is None else opened.find_features(options.features)


def _print(options: Options, values: dict[str, Any], workers: int = 0) -> None:
    """Prints the values, and a note if the machine was busy; `workers` processes read videos."""
    from slt_cache.device import under_load

    values = values | under_load(workers)
    width = max(map(len, values)) + 2
    options.print(values, *(f"{name:<{width}}{value}" for name, value in values.items()))


bench = Program(cache, contention, extract, llm, scale, visual, name="bench", help="Measure ratios on this machine.")
