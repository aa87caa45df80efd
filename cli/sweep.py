"""`sweep`."""

from typing import Annotated

import typer

from .interruptions import Interrupted
from .options import RUN_OPTIONS, Options, require_used, takes


@takes("sweep", *RUN_OPTIONS, "device", "seed", "json", left=Interrupted.RESUMES)
def sweep(
    options: Options,
    space: Annotated[
        str, typer.Argument(metavar="SPACE", help="Name of a shipped search space (stage2), or a YAML file.")
    ],
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Trials in all, with those of other processes and earlier calls.")
    ] = 50,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, metavar="N", help="Train the best three trials with N seeds each.")
    ] = 1,
    score_test: Annotated[
        bool, typer.Option("--score-test", help="Score the winner on test, once all trials are done.")
    ] = False,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features", metavar="FILE ...", help="Feature cache, or several, as for train-llm. [default: feats.h5]"
        ),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option("--llm", metavar="NAME", help="As for train-llm: light-t, or another LLM. [default: llm.name]"),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the sweep. [default: that of SPACE]")
    ] = None,
) -> None:
    """Search settings of stage 2 over one feature cache, by Optuna: TPE proposes them, median pruning ends bad trials.

    Needs optuna: pip install 'optuna>=4'. Writes sweeps/NAME in the run folder, with a run folder for each trial. Start
    the same command several times, also on machines that share the folder, and they share the trials; if it is killed,
    it resumes.

    Example: slt-cache sweep stage2 --run runs/avatar --trials 50
    """
    from slt_cache.sweep.needs import require_optuna

    require_optuna()
    from slt_cache.runs.own_of_stage_2 import with_own_of_stage_2
    from slt_cache.sweep.request import sweep_of
    from slt_cache.sweep.run_sweep import run_sweep
    from slt_cache.text.families import LIGHT_T

    imported = any(one.replace(" ", "") == "features.level=imported" for one in options.settings or [])
    own = [] if llm is None else [f"llm.name={llm}"]
    opened = with_own_of_stage_2(options.open_run(own=own, begins=imported))
    require_used(opened, "train-llm light-t" if opened.config.llm.name == LIGHT_T else "train-llm")
    asked = sweep_of(opened, space, features or ["feats.h5"], name)
    values, lines = run_sweep(asked, trials, seeds, score_test)
    options.print(values, *lines)
