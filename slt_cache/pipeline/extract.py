"""The frozen encoder over every clip of a split, once: videos in, feature cache out.

One process or a team of them: the leader plans and assembles, everyone makes parts. What a part holds, and how its
frames are put together, depends on the manifest alone, so the cache has the same bytes whoever made which part, and
however often the work was cut off."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from slt_cache.checkpoints.visual import load_visual, require_visual
from slt_cache.corpora.clips import SPLITS, no_such_split, of_split
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache, cached_splits
from slt_cache.features.layout import Failure, SplitTable
from slt_cache.features.parts import add_splits, parts_folder
from slt_cache.features.spec import FeatureSpec
from slt_cache.files import exclusive
from slt_cache.pipeline.corpora import require_corpus
from slt_cache.pipeline.failures import write_failures
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.run import Run
from slt_cache.pipeline.split_work import SplitWork
from slt_cache.pipeline.terminal import progress_bar
from slt_cache.team import Team


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
    require_visual(run.visual / "best")
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
    team: Team | None = None,
) -> list[Extraction]:
    """Writes the splits' features into `cache`, beside those that it holds. Goes on where a killed extraction left
    off. A split with clips that cannot be read is written with `allow_missing` only; its other clips are kept as parts.

    Processes that do not lead return nothing. Raises InputError where the cache holds features of another encoder, or
    where another extraction writes it."""
    team = team or Team.from_environment()
    checkpoint = load_visual(run.visual / "best")
    clips = ensure_clips(run)
    require_corpus(run, [clip for clip in clips if clip.split in splits])
    works = {split: SplitWork.plan(run, checkpoint, cache, split, of_split(clips, split)) for split in splits}
    if not team.leads:
        return _follow(works, team)
    try:
        with exclusive(parts_folder(cache) / "lock", str(cache)):
            return _lead(run, cache, works, team, allow_missing, restart)
    except BaseException:
        team.publish("plan", None)  # for those who still wait for it
        raise
    finally:
        _remove_if_empty(parts_folder(cache))


def _follow(works: dict[str, SplitWork], team: Team) -> list[Extraction]:
    plan = team.await_published("plan")
    if plan is None:
        raise SltCacheError("the first process has stopped; its message says why.")
    for split, numbers in plan.items():
        works[split].make_all(numbers, team)
    return []


def _lead(
    run: Run, cache: Path, works: dict[str, SplitWork], team: Team, allow_missing: bool, restart: bool
) -> list[Extraction]:
    if restart:
        forget(cache)
    for work in works.values():
        _require_fitting(cache, work.facts.spec)
    found = {split: _found(cache, work) for split, work in works.items()}
    plan = {split: works[split].to_do(longest_first=team.size > 1) for split, there in found.items() if there is None}
    team.publish("plan", plan)
    seconds: dict[str, float] = {}
    try:
        for split, numbers in plan.items():
            seconds[split] = works[split].make_all(numbers, team)
        contents = {split: works[split].content() for split in plan}
        whole = {split: one for split, one in contents.items() if allow_missing or not one.table.missing}
        if whole:
            with progress_bar(f"writing {cache.name}", "row") as progress:
                add_splits(cache, list(whole.values()), progress)
            if cache == run.features:
                run.save_config("features")
    except InputError:
        raise
    except SltCacheError as error:
        kept = sum(len(list(works[split].parts.folder.glob("*.h5"))) for split in plan)
        of_all = sum(len(works[split].stretches) for split in plan)
        raise SltCacheError(
            f"{error} {kept} of {of_all} parts are kept in {parts_folder(cache)}; the same command goes on from there."
        ) from error
    for split, content in contents.items():
        write_failures(cache, split, content.table.missing)
        if split in whole:
            works[split].parts.remove()
            found[split] = _outcome(FeatureCache(cache, split), seconds[split], fresh=True)
        else:
            found[split] = _not_written(content.table, seconds[split])
    return [one for one in found.values() if one is not None]


def _not_written(table: SplitTable, seconds: float) -> Extraction:
    return Extraction(
        split=table.facts.split,
        clips=len(table.steps) // table.facts.spec.views,
        frames=int(table.steps.sum()),
        seconds=seconds,
        failed=tuple(table.missing),
        written=False,
        fresh=False,
    )


def forget(cache: Path) -> None:
    """Deletes a cache and its part files, for an extraction that begins anew."""
    cache.unlink(missing_ok=True)
    for folder in parts_folder(cache).glob("*"):
        if folder.is_dir():  # the lock stays: to open and close it would give it away
            shutil.rmtree(folder, ignore_errors=True)


def _require_fitting(cache: Path, spec: FeatureSpec) -> None:
    """All splits of a file come from the same encoder, or none of them could be used together."""
    if cache.exists():
        for split in cached_splits(cache):
            FeatureCache(cache, split).require_spec(spec)


def _found(cache: Path, work: SplitWork) -> Extraction | None:
    """The split, where the cache holds it of the same manifest and there is nothing to add."""
    if not cache.exists() or work.facts.split not in cached_splits(cache):
        return None
    held = FeatureCache(cache, work.facts.split)
    if held.facts.manifest_sha256 != work.facts.manifest_sha256 or not work.are_of_these_videos(held):
        return None
    if held.missing and work.any_readable(held.missing, chain.from_iterable(work.stretches)):
        work.adopt(held)
        return None
    work.parts.remove()  # a kill may have left them behind the finished cache
    return _outcome(held, 0.0, fresh=False)


def _outcome(held: FeatureCache, seconds: float, fresh: bool) -> Extraction:
    return Extraction(held.split, len(held), int(held.offsets[-1]), seconds, held.missing, True, fresh)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
