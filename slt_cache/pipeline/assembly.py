"""What an extraction has to do, and the cache that is assembled in the end from the parts of all splits."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.layout import Failure, SplitTable
from slt_cache.features.parts import ALL, add_splits
from slt_cache.pipeline.failures import write_failures
from slt_cache.pipeline.run_corpus import require_corpus
from slt_cache.pipeline.split_work import SplitWork
from slt_cache.progress import log, progress_bar
from slt_cache.runs.encoders import record_encoder
from slt_cache.runs.run import Run
from slt_cache.runs.saved_settings import save_settings

CHECKED_ROWS = 1000
"""Rows between two checks that this process is still the one to write the cache."""


@dataclass(frozen=True)
class Extraction:
    """Result of extracting one split."""

    split: str
    clips: int
    """Number of clips with features."""
    frames: int
    """Time steps of features over all clips and views; at the levels frame and sign, kept frames."""
    seconds: float
    """Seconds of this call; almost none if the split existed."""
    failed: tuple[Failure, ...]
    written: bool
    """Whether the cache now holds the split as the run asks for it."""
    fresh: bool
    """Whether this call wrote it."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Extraction":
        return cls(**{**value, "failed": tuple(Failure(**one) for one in value["failed"])})


@dataclass(frozen=True)
class Plan:
    """What an extraction has to do."""

    todo: dict[str, list[int]]
    """Numbers of the parts to make of each split that has to be written."""
    found: dict[str, Extraction]
    """Splits that the cache holds already."""
    drop: set[str]
    """Splits of the cache that cannot share a file with those to write."""

    @classmethod
    def make(cls, run: Run, cache: Path, works: Mapping[str, SplitWork], longest_first: bool) -> "Plan":
        """Looks at the cache and the parts. Raises InputError if the cache holds other features, or if the videos to
        read are no longer where they were."""
        cached, drop = _open_cached(cache, works)
        found = _found_in(cached, works)
        todo = {split: work for split, work in works.items() if split not in found}
        require_videos(run, todo.values())
        record_encoder(run, next(iter(works.values())).metadata.spec)
        return cls({split: work.to_do(longest_first) for split, work in todo.items()}, found, drop)

    def after_look(self, cache: Path, works: Mapping[str, SplitWork]) -> "Plan":
        """Returns the plan without the splits that a process which was killed then has already written to the cache."""
        found = _found_in(_cached(cache, self.drop), {split: works[split] for split in self.todo})
        todo = {split: numbers for split, numbers in self.todo.items() if split not in found}
        return Plan(todo, self.found | found, self.drop)

    def to_json(self) -> dict[str, Any]:
        found = {split: one.to_json() for split, one in self.found.items()}
        return {"todo": self.todo, "found": found, "drop": sorted(self.drop)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Plan":
        found = {split: Extraction.from_json(one) for split, one in value["found"].items()}
        return cls(value["todo"], found, set(value["drop"]))


def assemble(
    run: Run,
    cache: Path,
    works: Mapping[str, SplitWork],
    plan: Plan,
    seconds: Mapping[str, float],
    allow_missing: bool,
    check: Callable[[], object] = bool,
) -> list[Extraction]:
    """Writes the splits to do into the cache from their parts, which all exist; one with missing clips only if that is
    allowed. `seconds` are those of this process for each split. `check` is called while the cache is written and before
    it replaces the old one; it may raise."""
    contents = {split: works[split].content() for split in plan.todo}
    whole = {split: one for split, one in contents.items() if allow_missing or not one.table.missing}
    missing = contents.keys() - whole.keys()
    cached = _cached(cache, plan.drop) if missing else {}
    unfinished = cached.keys() & missing
    if any(cached[split].spec != works[split].metadata.spec for split in unfinished):
        whole = {}  # the cache keeps its content until all that replaces it is complete
    if whole:
        with progress_bar(f"writing {cache.name}", "row") as progress:

            def show(done: int, total: int) -> None:
                if done == total or not done % CHECKED_ROWS:
                    check()
                progress(done, total)

            add_splits(cache, list(whole.values()), show, plan.drop, run.config.features.max_file_bytes)
        if cache == run.features or run.saved_config() is None:
            save_settings(run, "features")
    written = open_splits(cache) if whole else {}
    done = dict(plan.found)
    for split, content in contents.items():
        write_failures(cache, split, content.table.missing)
        if split in whole:
            works[split].parts.remove()
            done[split] = _outcome(written[split], seconds[split], fresh=True)
        else:
            done[split] = _not_written(content.table, seconds[split])
    return [done[split] for split in works]


def require_videos(run: Run, works: Iterable[SplitWork]) -> None:
    """Raises InputError if the whole corpus is no longer where it was."""
    require_corpus(run, [clip for work in works for clip in work.clips])


def _found_in(cached: Mapping[str, FeatureCache], works: Mapping[str, SplitWork]) -> dict[str, Extraction]:
    """Returns the splits that the cache holds as they are asked for."""
    found = {split: _found(cached.get(split), work) for split, work in works.items()}
    return {split: one for split, one in found.items() if one is not None}


def _cached(cache: Path, drop: set[str]) -> dict[str, FeatureCache]:
    return open_splits(cache) if cache.exists() and ALL not in drop else {}


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


def _open_cached(cache: Path, works: Mapping[str, SplitWork]) -> tuple[dict[str, FeatureCache], set[str]]:
    """Returns the splits of the cache, and the names of those that cannot share a file with those extracted again: of
    another encoder or other settings; all of a damaged file. Raises InputError if there are such splits and none is
    extracted again."""
    spec = next(iter(works.values())).metadata.spec
    restarted = {split for split, work in works.items() if work.parts.is_restarted}
    if not cache.exists():
        return {}, set()
    try:
        cached = open_splits(cache)
    except InputError as error:
        if not restarted:
            raise
        log(f"{error} It is replaced entirely; none of its other splits is kept.")
        return {}, {ALL}
    others = [one for split, one in cached.items() if split not in restarted and one.spec.differences(spec)]
    for one in others:
        if not restarted:
            one.require_spec(spec)
        fields = "; ".join(one.spec.differences(spec))
        log(f"{cache}: {one.split} will be dropped, since one file holds features of one kind only ({fields})")
    return cached, {one.split for one in others}


def _found(cached: FeatureCache | None, work: SplitWork) -> Extraction | None:
    """Returns the split if the cache holds it for the same manifest and nothing has to be added."""
    if (
        work.parts.is_restarted
        or cached is None
        or cached.metadata.manifest_sha256 != work.metadata.manifest_sha256
        or not work.are_of_these_videos(cached)
    ):
        return None
    if cached.missing and work.any_readable(cached.missing, work.clips):
        return None
    work.parts.remove()  # a kill may have left them after the cache was finished
    return _outcome(cached, 0.0, fresh=False)


def _outcome(cached: FeatureCache, seconds: float, fresh: bool) -> Extraction:
    return Extraction(cached.split, len(cached), int(cached.offsets[-1]), seconds, cached.missing, True, fresh)
