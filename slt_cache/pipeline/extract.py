"""Feature extraction: the frozen encoder runs once over every clip of a split, videos in, feature cache out.

One or several processes: the main process plans and assembles, all make parts. Those that join (--join) have no main
process: the first plans, and any assembles. The content of a part depends on the manifest alone, so the cache has the
same bytes for any number of processes and interruptions."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from slt_cache.corpora.base import SPLITS, no_such_split, of_split
from slt_cache.device import pick_device
from slt_cache.distributed.joined_queue import joined, remove_joined
from slt_cache.distributed.work_queue import WorkQueue
from slt_cache.encoders.base import NamedEncoder
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.parts import parts_folder
from slt_cache.locks import exclusive
from slt_cache.pipeline.assembly import Extraction, Plan, assemble, require_videos
from slt_cache.pipeline.command_dim import with_dim
from slt_cache.pipeline.encoder import extractor_of
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.split_work import SplitWork
from slt_cache.progress import log
from slt_cache.runs.run import Run
from slt_cache.runs.settings_use import named
from slt_cache.training.signals import Interrupts

JOINED = "join"
"""Folder next to the parts through which the processes of --join share the work."""


def splits_to_extract(run: Run, asked: str, join: bool = False) -> list[str]:
    """Returns the split, or for `all` those that have clips. Raises InputError before anything is written. Processes
    that join prepare a corpus one by one."""
    if asked not in (*SPLITS, "all"):
        raise InputError(f"--split {asked}: no such split; {no_such_split(asked, ' or all')}.")
    if run.config.encoder.name is None and not run.is_made("visual"):
        # The run knows this command line's settings, for the advice.
        first = run.command("train-visual")
        raise InputError(
            f"{run.visual / 'best'}: no finished visual encoder. Train first: {first}; or use one as it comes, such as "
            "--encoder resnet18."
        )
    if "features.level" in named(run.overrides):
        require_level(run)
    if not run.manifest.is_file():
        extractor_of(run).spec(run.config.features, run.config.augmentation)  # fails before a corpus is drawn
    prepares = join and not run.manifest.is_file()
    with exclusive(run.folder / "prepare.lock", str(run.manifest), waits=True) if prepares else nullcontext():
        clips = ensure_clips(run)
    if asked == "all":
        return [split for split in SPLITS if of_split(clips, split)]
    require_split(run, clips, asked)
    return [asked]


def require_level(run: Run) -> None:
    """Raises InputError if a level that was asked for is not that of the run's named encoder."""
    name, level = run.config.encoder.name, run.config.features.level
    if name is not None and level != "frame":
        raise InputError(
            f"features.level {level}: encoder {name} is used as it comes, without the modules of stage 1. Omit the "
            "level, or set encoder.name=null for the encoder of stage 1."
        )


def extract(
    run: Run,
    splits: Sequence[str],
    cache: Path,
    *,
    allow_missing: bool = False,
    restart: bool = False,
    join: bool = False,
    queue: WorkQueue | None = None,
) -> list[Extraction]:
    """Writes the features of splits into `cache`, next to those that it holds. Resumes a killed extraction, and keeps
    features that an earlier manifest had. A split with unreadable clips is only written with `allow_missing`; its other
    clips are kept as parts. With `restart` all videos of the splits are read, and the cache keeps its content until
    they are complete. With `join` this process shares the work with all others that join, and each returns the whole
    result.

    Of processes that torchrun started, only the main one returns a result. Raises InputError if the cache holds
    features of another encoder, or another extraction is writing it."""
    queue = queue or WorkQueue.from_environment()
    if join:
        _require_joinable(queue, restart)
    device = pick_device(
        run.config.compute.device, run.config.features.precision, "features.precision"
    )  # before all else
    clips = ensure_clips(run)
    encoder = with_dim(extractor_of(run), run, cache, clips)
    if isinstance(encoder, NamedEncoder) and queue.is_main_process:
        log(encoder.summary)
    works = {split: SplitWork.plan(run, encoder, cache, split, of_split(clips, split)) for split in splits}
    if not queue.is_main_process:
        return _run_other_process(works, queue)
    try:
        if join:
            return _run_joined(run, cache, works, _asked(run, works, device.type, allow_missing))
        with exclusive(parts_folder(cache) / "lock", str(cache)):
            remove_joined(parts_folder(cache) / JOINED)
            done = _run_main_process(run, cache, works, queue, allow_missing, restart)
        list(queue.await_all("plan"))  # it may hold their store, and have had nothing to do
        return done
    except BaseException:
        queue.publish("plan", None)  # for those who still wait for it
        raise
    finally:
        _remove_if_empty(parts_folder(cache))


def _run_other_process(works: dict[str, SplitWork], queue: WorkQueue) -> list[Extraction]:
    plan = queue.await_published("plan")
    if plan is None:
        raise SltCacheError("the main process has stopped; see its message.")
    for split, numbers in plan.items():
        works[split].make_all(numbers, queue)
    list(queue.await_all("plan"))
    return []


def _run_main_process(
    run: Run, cache: Path, works: dict[str, SplitWork], queue: WorkQueue, allow_missing: bool, restart: bool
) -> list[Extraction]:
    if restart:
        require_videos(run, works.values())
        for work in works.values():
            work.parts.restart()
    plan = Plan.make(run, cache, works, longest_first=queue.size > 1)
    queue.publish("plan", plan.todo)
    with _naming_kept_parts(cache, [works[split] for split in plan.todo]):
        seconds = {split: works[split].make_all(numbers, queue) for split, numbers in plan.todo.items()}
        return assemble(run, cache, works, plan, seconds, allow_missing)


def _require_joinable(queue: WorkQueue, restart: bool) -> None:
    if restart:
        raise InputError(
            "--join and --restart contradict each other: each process that joins would start over. To read all videos "
            "again, write a new file (--features NEW.h5)."
        )
    if queue.size > 1:
        raise InputError("--join: the processes of torchrun share the work already. Omit --join, or torchrun.")


def _asked(run: Run, works: Mapping[str, SplitWork], device: str, allow_missing: bool) -> dict[str, Any]:
    """Returns what must be the same for all processes that join: what determines bytes, and what the cache may lack."""
    metadata = [work.metadata for work in works.values()]
    features = run.config.features
    return {
        "--split": list(works),
        "--allow-missing": allow_missing,
        "device": device,
        "features.clips_per_part": features.clips_per_part,
        "features.batch_frames": features.batch_frames,
        **json.loads(metadata[0].spec.to_json()),
        **{name: getattr(metadata[0], name) for name in ("corpus", "language", "created", "tool")},
        **{f"manifest of {one.split}": one.manifest_sha256 for one in metadata},
    }


def _run_joined(run: Run, cache: Path, works: Mapping[str, SplitWork], asked: dict[str, Any]) -> list[Extraction]:
    folder, lease = parts_folder(cache) / JOINED, run.config.compute.lease_seconds
    with Interrupts(), joined(folder, str(cache), asked, lease, log) as queue:
        make = partial(Plan.make, run, cache, works, longest_first=True)
        plan = Plan.from_json(queue.planned(lambda: make().to_json()))
        require_videos(run, [works[split] for split in plan.todo])
        with _naming_kept_parts(cache, [works[split] for split in plan.todo]):
            seconds = {}
            for split, numbers in plan.todo.items():
                seconds[split] = works[split].make_all(numbers, queue)
                log(f"{split}: {len(works[split].clips):,} clips, {queue.share(split)}")

            def assembled(check: Callable[[], None]) -> list[dict[str, Any]]:
                left = plan.after_look(cache, works)
                _await_sight([works[split] for split in left.todo], lease)
                done = assemble(run, cache, works, left, seconds, asked["--allow-missing"], check)
                return [one.to_json() for one in done]

            found = queue.once(assembled, lambda: log(f"{cache}: waiting for the process that writes it"))
        done = map(Extraction.from_json, found)
        return [replace(one, seconds=seconds.get(one.split, 0.0)) for one in done]


def _await_sight(works: Sequence[SplitWork], seconds: float) -> None:
    """Waits until this machine sees the parts that others have made, which NFS may show a minute later."""
    end = time.monotonic() + seconds
    while not all(work.are_all_made() for work in works) and time.monotonic() < end:
        time.sleep(1.0)


@contextmanager
def _naming_kept_parts(cache: Path, works: Sequence[SplitWork]) -> Iterator[None]:
    """Adds to error messages how many parts are kept for the next try."""
    try:
        yield
    except InputError:
        raise
    except SltCacheError as error:
        kept = sum(len(list(work.parts.folder.glob("*.h5"))) for work in works)
        of_all = sum(len(work.chunks) for work in works)
        raise SltCacheError(
            f"{error} {kept} of {of_all} parts are kept in {parts_folder(cache)}; the same command resumes from there."
        ) from error


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # not empty, or not there
        folder.rmdir()
