"""`demo` and `bench`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .endings import Interrupted
from .help import Program
from .options import (
    ConfigOption,
    DeviceOption,
    FeaturesOption,
    JsonOption,
    RunOption,
    SeedOption,
    SetOption,
    VerboseOption,
    guarded,
    keep_few_kernels,
    open_run,
    print_json,
    sleep_while_waiting,
)


def register(app: typer.Typer) -> None:
    bench = Program(help="Measure ratios on this machine.")
    app.command("demo")(guarded(demo, Interrupted.RESUMES))
    bench.command("cache")(guarded(bench_cache))
    bench.command("extract")(guarded(bench_extract))
    bench.command("llm")(guarded(bench_llm))
    bench.command("visual")(guarded(bench_visual))
    bench.callback()(_bench)
    app.add_typer(bench, name="bench")


def _bench() -> None:
    """Measure ratios on this machine."""


def demo(
    full: Annotated[bool, typer.Option("--full", help="Also train the same LLM without pre-training.")] = False,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    seed: SeedOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run the whole pipeline on the drawn demo corpus, from video files to scored translations.

    Example: slt-cache demo
    """
    keep_few_kernels()
    from slt_cache.demo import render, run_demo

    done = run_demo(open_run(run, config, settings, device, seed, begins=True), full)
    if as_json:
        print_json(done.to_json())
    else:
        typer.echo(render(done))


def bench_cache(
    features: FeaturesOption = None,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Time a stage-2 epoch from the cache against one that runs the frozen encoder again.

    Example: slt-cache bench cache
    """
    keep_few_kernels()
    from slt_cache.bench.cache import bench_cache as bench

    opened = open_run(run, config, settings, device)
    figures = bench(opened, opened.features if features is None else opened.find_features(features))
    _print(figures, as_json, opened.config.compute.workers)


def bench_extract(
    videos: Annotated[
        Path | None,
        typer.Option("--videos", help="Folder of videos. [default: H.264 files of 256 pixels, made for it]"),
    ] = None,
    clips: Annotated[int, typer.Option("--clips", min=1, help="Videos at most.")] = 48,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Time extraction against its limits: reading the kept frames alone, and the bare backbone alone.

    Without --config, the paper's settings: 224 pixels, one frame in four.

    Example: slt-cache bench extract --clips 16
    """
    sleep_while_waiting()
    from slt_cache.bench.extract import bench_extract as bench

    opened = open_run(None, config or "paper", settings, device)
    _print(bench(opened.config, videos, clips), as_json, opened.config.compute.workers)


def bench_llm(
    features: FeaturesOption = None,
    shape: Annotated[str, typer.Option("--shape", help="The LLM: that of the run, or mbart-large.")] = "run",
    batches: Annotated[
        int | None,
        typer.Option("--batches", min=1, help="Batches of an epoch. [default: all; 8 of mbart-large]"),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Only the memory that a step of MBart-large takes; needs no run.")
    ] = False,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Time updates of stage 2: from the cache, with the encoder run again, and the bare LLM in memory.

    An update takes forward, loss, backward, clipping (where set) and the optimizer's step, for the bare LLM too.

    Example: slt-cache bench llm --shape mbart-large
    """
    opened = open_run(run, config, settings, device)
    if memory:
        from slt_cache.bench.memory import bench_memory

        _print(bench_memory(opened.config), as_json)
        return
    from slt_cache.bench.llm import bench_llm as bench

    cache = opened.features if features is None else opened.find_features(features)
    _print(bench(opened, cache, shape, batches), as_json, opened.config.compute.workers)


def bench_visual(
    batches: Annotated[
        int | None, typer.Option("--batches", min=2, help="Batches of an epoch. [default: 20, or all where fewer]")
    ] = None,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Time updates of stage 1 over real videos against the bare backbone; say whether video.frame_cache pays.

    Needs no training; the demo corpus is drawn where there is none.

    Example: slt-cache bench visual --batches 10
    """
    keep_few_kernels()
    from slt_cache.bench.visual import bench_visual as bench

    opened = open_run(run, config, settings, device, draws=True)
    _print(bench(opened, batches), as_json, opened.config.compute.workers)


def _print(figures: dict[str, Any], as_json: bool, workers: int = 0) -> None:
    """The figures, and that the machine was busy if it was; `workers` read videos."""
    from slt_cache.machine_load import under_load

    figures = figures | under_load(workers)
    if as_json:
        print_json(figures)
        return
    width = max(map(len, figures)) + 2
    for name, value in figures.items():
        typer.echo(f"{name:<{width}}{value}")
