"""`demo`."""

from typing import Annotated

import typer

from .interruptions import Interrupted
from .options import RUN_OPTIONS, Options, keep_few_kernels, takes


@takes("demo", *RUN_OPTIONS, "device", "seed", "json", left=Interrupted.RESUMES)
def demo(
    options: Options,
    full: Annotated[bool, typer.Option("--full", help="Also train the same LLM without pre-training.")] = False,
) -> None:
    """Run the whole pipeline on the drawn demo corpus, from video files to scored translations.

    Example: slt-cache demo
    """
    keep_few_kernels()
    from slt_cache.demo import render, run_demo

    done = run_demo(options.open_run(begins=True), full)
    options.print(done.to_json(), render(done))
