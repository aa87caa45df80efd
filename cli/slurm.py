"""`slurm`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import RUN_OPTIONS, Options, takes

if TYPE_CHECKING:
    from slt_cache.slurm import Job


@takes("slurm", "json")
def slurm(
    options: Options,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND...",
            help="A command of slt-cache with its options, such as train-visual --config phoenix14t.",
        ),
    ],
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Number of machines.")] = 1,
    gpus: Annotated[
        int,
        typer.Option("--gpus", min=0, help="GPUs per node, each with one process; 0 for one process without a GPU."),
    ] = 1,
    cpus: Annotated[int, typer.Option("--cpus", min=1, help="Processor cores per process.")] = 8,
    time: Annotated[
        str | None,
        typer.Option("--time", help="Time limit, such as 24:00:00 or 2-12. [default: that of the partition]"),
    ] = None,
    requeue: Annotated[
        bool,
        typer.Option("--requeue/--no-requeue", help="Queue again after the time limit or a preemption, and resume."),
    ] = True,
    array: Annotated[
        int | None,
        typer.Option("--array", min=1, help="Number of jobs that share an extract-features --join. [default: one job]"),
    ] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(
            "--sbatch",
            metavar="NAME=VALUE",
            help="Another option of sbatch, such as partition=gpu or mem=64G. Repeatable. [default: none]",
        ),
    ] = None,
    send: Annotated[bool, typer.Option("--submit", help="Submit the script with sbatch.")] = False,
) -> None:
    """Print the SLURM script that runs a command on a cluster, on several nodes and through interruptions.

    Options of the script may stand before or after the command; all others belong to the command, and everything after
    --.

    Example: slt-cache slurm train-visual --nodes 2 --gpus 4 --time 24:00:00
    """
    from slt_cache.progress import log
    from slt_cache.slurm import Job, submit

    name, values = _checked(words)
    job = Job(name, tuple(words), nodes, gpus, cpus, time, requeue, array, tuple(sbatch or ()))
    job.require_sound()
    _require_repeatable(job, values)
    _require_run(name, values)
    script = job.script()
    number = submit(script) if send else None
    options.print({"script": script, "job": number}, script.rstrip())
    if number is not None:
        log(f"submitted as job {number}. Its output: slurm-{number}{'' if array is None else '_*'}.out")


def _checked(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Parses a command line of slt-cache, which fails here rather than after a day in the queue. Returns the command's
    name and the values of its options."""
    from typer.main import get_command

    from slt_cache.errors import InputError

    from .program import program

    command: Any = get_command(program)
    context, rest = typer.Context(command, info_name="slt-cache"), words
    names: list[str] = []
    while hasattr(command, "commands"):
        if not rest:
            raise InputError(f"slurm {' '.join(words)}: which command of {names[-1]}? {', '.join(command.commands)}.")
        name, command, rest = command.resolve_command(context, rest)
        names.append(name)
        context = typer.Context(command, info_name=name, parent=context)
    return " ".join(names), command.make_context(names[-1], list(rest), parent=context.parent).params


def _require_repeatable(job: "Job", values: dict[str, Any]) -> None:
    """Raises InputError if the command cannot be what an array or a requeued job runs."""
    from slt_cache.errors import InputError

    if job.name in ("slurm", "app"):
        raise InputError(f"{job.name}: not a command for a batch job.")
    if job.array is not None and not values.get("join"):
        raise InputError(
            "--array: its jobs share the work of extract-features --join only. Omit --array, or run that command."
        )
    if job.requeue and values.get("restart"):
        raise InputError(
            "--restart: a job that queues again would discard its work and start over. Add --no-requeue, or train into "
            "a new folder (--run)."
        )


def _require_run(name: str, values: dict[str, Any]) -> None:
    """Raises InputError if the run or a setting that the command names does not exist."""
    from slt_cache.slurm import SHARED

    if name in SHARED:
        named = {option: values[option] for option in (*RUN_OPTIONS, "device", "seed") if option in values}
        begins = values.get("origin") is not None or "features.level=imported" in (values.get("settings") or [])
        Options(**named).open_run(draws=not begins, begins=begins)
