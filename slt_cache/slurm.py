"""Batch scripts for SLURM: what a job asks of the cluster, and how it resumes after an interruption.

srun starts the processes and tells each its rank. torchrun is not needed: it hides the exit code, by which the script
recognizes an interruption, and kills its processes 30 seconds after SIGTERM, whether the state is saved or not."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from slt_cache.errors import InputError, SltCacheError

NOTICE = 300
"""Seconds before the end of the job's time at which it is interrupted, to save its state and queue again."""
SHORTEST = 2 * NOTICE
"""Seconds of the shortest job that can be interrupted in time: SLURM may send the signal a minute early."""
SHARED = ("train-visual", "train-llm", "train-joint", "llm pretrain", "extract-features", "precompute", "eval")
"""Commands whose work several processes share."""
TIME = re.compile(r"(\d+-\d+(:\d+){0,2})|(\d+(:\d+){0,2})")
"""MINUTES, MINUTES:SECONDS, HOURS:MINUTES:SECONDS, or DAYS-HOURS with minutes and seconds."""

ALONE = """
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" {command}
code=$?
"""
TOGETHER = """
# One process per GPU, each with its rank; they meet at the first one, which is on the node of this script. One that
# fails ends the others. One that is interrupted does not, as they are saving their state, but leaves a file. Its exit
# code is 130, or 143 before it has begun.
export MASTER_PORT=$((10000 + SLURM_JOB_ID % 20000)) INTERRUPTED=slurm-$SLURM_JOB_ID.interrupted
rm -f "$INTERRUPTED"
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 bash -c '
  export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS MASTER_ADDR=$SLURM_LAUNCH_NODE_IPADDR
  trap : TERM
  "$@" || {{ code=$?; [[ $code = 130 || $code = 143 ]] && : > "$INTERRUPTED" && exit 0; exit $code; }}' bash {command}
code=$?
if [ $code = 0 ] && [ -e "$INTERRUPTED" ]; then code=130; fi
rm -f "$INTERRUPTED"
"""
REQUEUE = """
# SLURM sends SIGTERM {notice} minutes before the time is up, and when another job needs the nodes. The interrupted job
# queues again, unless SLURM is ending it anyway, and the same command resumes.
job={job}
if [[ $code = 130 || $code = 143 ]] && [ "$(squeue --noheader --jobs="$job" --format=%T)" = RUNNING ]; then
  scontrol requeue "$job"
fi
"""


@dataclass(frozen=True)
class Job:
    """What a job runs, and what it asks of SLURM."""

    name: str
    """Command of slt-cache, such as `llm pretrain`."""
    words: tuple[str, ...]
    """The command with its arguments."""
    nodes: int = 1
    gpus: int = 1
    """GPUs, and processes, per node; 0 for one process without a GPU."""
    cpus: int = 8
    """Processor cores per process."""
    time: str | None = None
    """Time limit in SLURM's notation; None for that of the partition."""
    requeue: bool = True
    """Whether the job queues again after an interruption."""
    array: int | None = None
    """Number of jobs in an array that share the work; None for a single job."""
    options: tuple[str, ...] = ()
    """Further options of sbatch, as NAME=VALUE or NAME."""

    @property
    def processes(self) -> int:
        return self.nodes * max(self.gpus, 1)

    def require_sound(self) -> None:
        """Raises InputError for what SLURM would refuse, or the command only after it has waited in the queue."""
        if self.processes > 1 and self.name not in SHARED:
            raise InputError(
                f"{self.name} runs in one process: omit --nodes and --gpus. Several processes share the work of "
                f"{', '.join(one for one in SHARED if one != 'precompute')}."
            )
        if self.array is not None and self.processes > 1:
            raise InputError("--array: each of its jobs is one process. Omit --nodes and --gpus.")
        if self.time is not None and _seconds(self.time) < SHORTEST:
            raise InputError(
                f"--time {self.time}: shorter than {SHORTEST // 60} minutes, of which the last {NOTICE // 60} are for "
                "saving the state. Ask for more time."
            )
        known = {_name(one) for one in self._own()} | {"no-requeue"}
        for option in self.options:
            if _name(option) in known or not re.fullmatch(r"[a-z][a-z-]*(=[^\n]*)?", option):
                raise InputError(
                    f"--sbatch {option}: give an option of sbatch as NAME=VALUE, such as partition=gpu; "
                    f"{', '.join(sorted(known))} are set already or by options of this command."
                )

    def script(self) -> str:
        """Returns the script for sbatch."""
        command = shlex.join([sys.executable, "-m", "slt_cache", *self.words])
        options = (f"#SBATCH --{one}" for one in (*self._own(), *map(_quoted, self.options)))
        steps = "export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK\n"
        steps += (TOGETHER if self.processes > 1 else ALONE).format(command=command)
        job = "$SLURM_JOB_ID" if self.array is None else "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
        steps += REQUEUE.format(notice=NOTICE // 60, job=job) if self.requeue else ""
        return "\n".join(["#!/bin/bash", *options, "", steps, "exit $code\n"])

    def _own(self) -> Iterator[str]:
        """Yields the options of sbatch that the job sets itself."""
        yield f"job-name={self.name.replace(' ', '-')}"
        yield f"nodes={self.nodes}"
        yield f"ntasks-per-node={max(self.gpus, 1)}"
        yield f"cpus-per-task={self.cpus}"
        if self.gpus:
            yield f"gpus-per-node={self.gpus}"
        if self.time is not None:
            yield f"time={self.time}"
        if self.array is not None:
            yield f"array=0-{self.array - 1}"
        yield "requeue" if self.requeue else "no-requeue"
        yield "open-mode=append"
        yield f"signal=TERM@{NOTICE}"


def _name(option: str) -> str:
    return option.partition("=")[0]


def _quoted(option: str) -> str:
    name, equals, value = option.partition("=")
    return f"{name}{equals}{shlex.quote(value) if value else ''}"


def _seconds(time: str) -> int:
    """Returns the seconds of a time in SLURM's notation. Raises InputError if it is none."""
    if not TIME.fullmatch(time):
        raise InputError(f"--time {time}: no time. Give HOURS:MINUTES:SECONDS, DAYS-HOURS, or a number of minutes.")
    days, _, clock = time.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    units = (3600, 60, 1) if days or len(parts) == 3 else (60, 1)
    return 86400 * int(days or 0) + sum(part * unit for part, unit in zip(parts, units, strict=False))


def submit(script: str) -> str:
    """Submits a script with sbatch; returns the job's number. Raises InputError without SLURM, and SltCacheError if it
    refuses the job."""
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        raise InputError(
            "--submit: there is no sbatch here. Run this on a machine of the cluster, or save the script and submit it "
            "there."
        )
    done = subprocess.run([sbatch, "--parsable"], input=script, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SltCacheError(
            f"sbatch refuses the job: {' '.join(done.stderr.split())}. Change what it asks for (--sbatch NAME=VALUE)."
        )
    return done.stdout.strip().partition(";")[0]
