"""Feature extraction: the frozen encoder runs once over every clip of a split, videos in, feature cache out.

One or several processes: the main process plans and assembles, all make parts. The content of a part depends on the
manifest alone, so the cache has the same bytes for any number of processes and interruptions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slt_cache.corpora.base import SPLITS, no_such_split, of_split
from slt_cache.device import pick_device
from slt_cache.distributed.work_queue import WorkQueue
from slt_cache.encoders.base import NamedEncoder
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache, open_splits
from slt_cache.features.layout import Failure, SplitTable
from slt_cache.features.parts import ALL, add_splits, parts_folder
from slt_cache.locks import exclusive
from slt_cache.pipeline.command_dim import with_dim
from slt_cache.pipeline.encoder import extractor_of
from slt_cache.pipeline.failures import write_failures
from slt_cache.pipeline.prepare import ensure_clips, require_split
from slt_cache.pipeline.run_corpus import require_corpus
from slt_cache.pipeline.split_work import SplitWork
from slt_cache.progress import log, progress_bar
from slt_cache.runs.encoders import record_encoder
from slt_cache.runs.run import Run
from slt_cache.runs.saved_settings import save_settings
from slt_cache.runs.settings_use import named


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


def splits_to_extract(run: Run, asked: str) -> list[str]:
    """Returns the split, or for `all` those that have clips. Raises InputError before anything is written."""
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
    queue: WorkQueue | None = None,
) -> list[Extraction]:
    """Writes the features of splits into `cache`, next to those that it holds. Resumes a killed extraction, and keeps
    features that an earlier manifest had. A split with unreadable clips is only written with `allow_missing`; its other
    clips are kept as parts. With `restart` all videos of the splits are read, and the cache keeps its content until
    they are complete.

    Processes other than the main one return nothing. Raises InputError if the cache holds features of another encoder,
    or another extraction is writing it."""
    queue = queue or WorkQueue.from_environment()
    pick_device(run.config.compute.device, run.config.features.precision, "features.precision")  # before all else
    clips = ensure_clips(run)
    encoder = with_dim(extractor_of(run), run, cache, clips)
    if isinstance(encoder, NamedEncoder) and queue.is_main_process:
        log(encoder.summary)
    works = {split: SplitWork.plan(run, encoder, cache, split, of_split(clips, split)) for split in splits}
    if not queue.is_main_process:
        return _run_other_process(works, queue)
    try:
        with exclusive(parts_folder(cache) / "lock", str(cache)):
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
        _require_corpus(run, works.values())
        for work in works.values():
            work.parts.restart()
    cached, drop = _open_cached(cache, works)
    found = {split: _found(cached.get(split), work) for split, work in works.items()}
    _require_corpus(run, [works[split] for split, there in found.items() if there is None])
    record_encoder(run, next(iter(works.values())).metadata.spec)
    plan = {split: works[split].to_do(longest_first=queue.size > 1) for split, there in found.items() if there is None}
    queue.publish("plan", plan)
    seconds: dict[str, float] = {}
    with _naming_kept_parts(cache, [works[split] for split in plan]):
        for split, numbers in plan.items():
            seconds[split] = works[split].make_all(numbers, queue)
        contents = {split: works[split].content() for split in plan}
        whole = {split: one for split, one in contents.items() if allow_missing or not one.table.missing}
        unfinished = cached.keys() & contents.keys() - whole.keys()
        if any(cached[split].spec != works[split].metadata.spec for split in unfinished):
            whole = {}  # the cache keeps its content until all that replaces it is complete
        if whole:
            with progress_bar(f"writing {cache.name}", "row") as progress:
                add_splits(cache, list(whole.values()), progress, drop)
            if cache == run.features or run.saved_config() is None:
                save_settings(run, "features")
    written = open_splits(cache) if whole else {}
    for split, content in contents.items():
        write_failures(cache, split, content.table.missing)
        if split in whole:
            works[split].parts.remove()
            found[split] = _outcome(written[split], seconds[split], fresh=True)
        else:
            found[split] = _not_written(content.table, seconds[split])
    return [one for one in found.values() if one is not None]


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


def _require_corpus(run: Run, works: Iterable[SplitWork]) -> None:
    """Raises InputError if the whole corpus is no longer where it was."""
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


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
