"""The frozen encoder over every clip of a split, once: videos in, feature cache out.

One process or a team of them: the leader plans and assembles, everyone makes parts. What a part holds, and how its
frames are put together, depends on the manifest alone, so the cache has the same bytes whoever made which part, and
however often the work was cut off."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slt_cache.checkpoints.visual import load_visual
from slt_cache.corpora.base import SPLITS, no_such_split, of_split
from slt_cache.device import pick_device
from slt_cache.distributed.work_queue import WorkQueue
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.layout import Failure, SplitTable
from slt_cache.features.parts import ALL, add_splits, parts_folder
from slt_cache.locks import exclusive
from slt_cache.pipeline.failures import write_failures
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.run_corpus import require_corpus
from slt_cache.pipeline.split_work import SplitWork
from slt_cache.progress import log, progress_bar
from slt_cache.runs.run import Run
from slt_cache.runs.saved_settings import save_settings


@dataclass(frozen=True)
class Extraction:
    """What became of one split."""

    split: str
    clips: int
    """Clips with features."""
    frames: int
    """Rows of features over all clips and views; at the levels frame and sign, kept frames."""
    seconds: float
    """Of this call; next to nothing where the split was there already."""
    failed: tuple[Failure, ...]
    written: bool
    """Whether the cache holds the split now, as the run asks for it."""
    fresh: bool
    """Whether this call wrote it."""


def splits_to_extract(run: Run, asked: str) -> list[str]:
    """One split, or for `all` those that have clips. Raises InputError before anything is made."""
    if asked not in (*SPLITS, "all"):
        raise InputError(f"--split {asked}: no such split; {no_such_split(asked, ' or all')}.")
    if not run.is_made("visual"):  # knows the settings of this command line, which the advice has to repeat
        first = run.command("train-visual")
        raise InputError(f"{run.visual / 'best'}: no finished visual encoder here. Train it first: {first}")
    clips = ensure_clips(run)
    if asked == "all":
        return [split for split in SPLITS if of_split(clips, split)]
    require_split(run, clips, asked)
    return [asked]


def extract(
    run: Run,
    splits: Sequence[str],
    cache: Path,
    *,
    allow_missing: bool = False,
    restart: bool = False,
    team: WorkQueue | None = None,
) -> list[Extraction]:
    """Writes the splits' features into `cache`, beside those that it holds. Resumes a killed extraction, and reads no
    video whose features are there from an earlier manifest. A split with clips that cannot be read is written with
    `allow_missing` only; its other clips are kept as parts. With `restart` all videos of the splits are read, and what
    the cache holds stays until they are whole.

    Processes that do not lead return nothing. Raises InputError where the cache holds features of another encoder, or
    where another extraction writes it."""
    team = team or WorkQueue.from_environment()
    pick_device(run.config.compute.device, run.config.features.precision, "features.precision")  # before all else
    checkpoint = load_visual(run.visual / "best")
    clips = ensure_clips(run)
    works = {split: SplitWork.plan(run, checkpoint, cache, split, of_split(clips, split)) for split in splits}
    if not team.is_main_process:
        return _follow(works, team)
    try:
        with exclusive(parts_folder(cache) / "lock", str(cache)):
            return _lead(run, cache, works, team, allow_missing, restart)
    except BaseException:
        team.publish("plan", None)  # for those who still wait for it
        raise
    finally:
        _remove_if_empty(parts_folder(cache))


def _follow(works: dict[str, SplitWork], team: WorkQueue) -> list[Extraction]:
    plan = team.await_published("plan")
    if plan is None:
        raise SltCacheError("the first process has stopped; its message says why.")
    for split, numbers in plan.items():
        works[split].make_all(numbers, team)
    return []


def _lead(
    run: Run, cache: Path, works: dict[str, SplitWork], team: WorkQueue, allow_missing: bool, restart: bool
) -> list[Extraction]:
    if restart:
        _require_corpus(run, works.values())
        for work in works.values():
            work.parts.restart()
    drop = _to_drop(cache, works)
    found = {split: _found(cache, work) for split, work in works.items()}
    _require_corpus(run, [works[split] for split, there in found.items() if there is None])
    plan = {split: works[split].to_do(longest_first=team.size > 1) for split, there in found.items() if there is None}
    team.publish("plan", plan)
    seconds: dict[str, float] = {}
    with _naming_kept_parts(cache, [works[split] for split in plan]):
        for split, numbers in plan.items():
            seconds[split] = works[split].make_all(numbers, team)
        contents = {split: works[split].content() for split in plan}
        whole = {split: one for split, one in contents.items() if allow_missing or not one.table.missing}
        if _would_mix(cache, works, contents.keys() - whole.keys()):
            whole = {}  # what the cache holds stays until all that is to take its place is whole
        if whole:
            with progress_bar(f"writing {cache.name}", "row") as progress:
                add_splits(cache, list(whole.values()), progress, drop)
            if cache == run.features:
                save_settings(run, "features")
    for split, content in contents.items():
        write_failures(cache, split, content.table.missing)
        if split in whole:
            works[split].parts.remove()
            found[split] = _outcome(FeatureCache(cache, split), seconds[split], fresh=True)
        else:
            found[split] = _not_written(content.table, seconds[split])
    return [one for one in found.values() if one is not None]


@contextmanager
def _naming_kept_parts(cache: Path, works: Sequence[SplitWork]) -> Iterator[None]:
    """Adds to the message of what fails in the block how many parts are kept for the next try."""
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


def _require_corpus(run: Run, works: Iterable[SplitWork]) -> None:
    """Raises InputError if the corpus as a whole is no longer where it was."""
    require_corpus(run, [clip for work in works for clip in work.clips])


def _not_written(table: SplitTable, seconds: float) -> Extraction:
    return Extraction(
        split=table.metadata.split,
        clips=len(table.steps) // table.metadata.spec.views,
        frames=int(table.steps.sum()),
        seconds=seconds,
        failed=tuple(table.missing),
        written=False,
        fresh=False,
    )


def _to_drop(cache: Path, works: Mapping[str, SplitWork]) -> set[str]:
    """Splits of the cache that cannot stay in one file with those that are extracted again as a whole: of another
    encoder or other settings; all of a damaged file. Raises InputError if there are such splits and none is extracted
    again."""
    spec = next(iter(works.values())).metadata.spec
    restarted = {split for split, work in works.items() if work.parts.is_restarted}
    if not cache.exists():
        return set()
    try:
        held = [one for split, one in open_splits(cache).items() if split not in restarted]
    except InputError as error:
        if not restarted:
            raise
        log(f"{error} It is replaced as a whole; none of its other splits is kept.")
        return {ALL}
    others = [one for one in held if one.spec.differences(spec)]
    if not restarted:
        for one in others:
            one.require_spec(spec)
    for one in others:
        fields = "; ".join(one.spec.differences(spec))
        log(f"{cache}: {one.split} will be left out, since one file holds features of one kind only ({fields})")
    return {one.split for one in others}


def _would_mix(cache: Path, works: Mapping[str, SplitWork], unfinished: Container[str]) -> bool:
    """Whether the cache holds unfinished splits with features of another kind than those that would come to them."""
    if not cache.exists():
        return False
    try:
        held = [one for split, one in open_splits(cache).items() if split in unfinished]
    except InputError:
        return False  # damaged, and replaced as a whole
    return any(one.spec != works[one.split].metadata.spec for one in held)


def _found(cache: Path, work: SplitWork) -> Extraction | None:
    """The split, where the cache holds it of the same manifest and there is nothing to add."""
    if work.parts.is_restarted or not cache.exists():
        return None
    held = open_splits(cache).get(work.metadata.split)
    if (
        held is None
        or held.metadata.manifest_sha256 != work.metadata.manifest_sha256
        or not work.are_of_these_videos(held)
    ):
        return None
    if held.missing and work.any_readable(held.missing, work.clips):
        return None
    work.parts.remove()  # a kill may have left them behind the finished cache
    return _outcome(held, 0.0, fresh=False)


def _outcome(held: FeatureCache, seconds: float, fresh: bool) -> Extraction:
    return Extraction(held.split, len(held), int(held.offsets[-1]), seconds, held.missing, True, fresh)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
