"""A corpus in, the run's manifest and preparation report out."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt_cache.config import CorpusConfig, differences
from slt_cache.corpora.clips import SPLITS, Clip, of_split
from slt_cache.corpora.manifest import read_manifest, write_manifest
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.spec import IMPORTED
from slt_cache.files import read_json, write_json
from slt_cache.pipeline.run import Run
from slt_cache.pipeline.terminal import progress_bar

SOURCE_MANIFEST = "manifest.tsv"
"""Name of one's own manifest in corpus.root."""


@dataclass(frozen=True)
class Preparation:
    """What `prepare` found."""

    manifest: Path
    counts: dict[str, int]
    """Clips of each split."""
    problems: dict[str, int]
    """How many clips have each kind of problem; the report lists them."""
    report: Path


def prepare(run: Run) -> Preparation:
    """Makes the manifest of the run's corpus. Raises InputError where there is nothing to make it of."""
    corpus = run.config.corpus
    clips = _draw_avatar(run) if corpus.name == "avatar" else _read_own(run, corpus)
    counts = {split: len(of_split(clips, split)) for split in SPLITS}
    problems = _problems(clips)
    report: dict[str, Any] = {
        "corpus": corpus.model_dump(mode="json"),
        "source_sha256": _source_sha256(corpus),
        "counts": counts,
        "signers": dict(Counter(clip.signer for clip in clips if clip.signer)),
        "problems": problems,
    }
    write_json(run.preparation, report)  # before the manifest, which says that all of it is there
    write_manifest(run.manifest, clips)
    return Preparation(
        run.manifest, counts, {kind: len(clip_ids) for kind, clip_ids in problems.items()}, run.preparation
    )


def ensure_clips(run: Run) -> list[Clip]:
    """The clips of the run; prepares the corpus where that was not done yet. Raises InputError where the manifest
    is that of another corpus than the run asks for."""
    if not run.manifest.is_file():
        prepare(run)
        run.save_config()
    elif run.preparation.is_file():
        made, corpus = read_json(run.preparation), run.config.corpus
        different = differences(made["corpus"], corpus.model_dump(mode="json"), "corpus.")
        if different:
            raise InputError(
                f"{run.manifest} was prepared with other settings ({'; '.join(different)}). "
                "Choose another run folder with --run, or go back to these settings."
            )
        if _source_sha256(corpus) not in (None, made["source_sha256"]):
            raise InputError(
                f"{corpus.root}: manifest.tsv has changed since {run.manifest} was made from it. "
                f"Prepare again: {run.command(f'prepare tsv --root {corpus.root}')}"
            )
    return read_manifest(run.manifest)


def require_split(run: Run, clips: Sequence[Clip], split: str) -> list[Clip]:
    """The clips of a split that must not be empty."""
    chosen = of_split(clips, split)
    if not chosen:
        there = ", ".join(name for name in SPLITS if of_split(clips, name))
        raise InputError(
            f"{run.manifest}: no clips of split {split!r}, only of {there}. Add some, or choose another split."
        )
    return chosen


def manifest_sha256(clips: Sequence[Clip]) -> str:
    """Over all that the manifest says of these clips, in order; video paths by their last two parts, so that a
    corpus may be moved."""
    digest = hashlib.sha256()
    for clip in clips:
        row = (clip.id, clip.split, *clip.video.parts[-2:], clip.start, clip.end, clip.text)
        digest.update(("\t".join(map(str, row)) + "\n").encode())
    return digest.hexdigest()


def require_manifest(run: Run, held: FeatureCache) -> None:
    """Refuses a cache whose clips or sentences are not those of the run's manifest; without one all caches pass."""
    if not run.manifest.is_file():
        return
    clips = of_split(ensure_clips(run), held.split)
    if manifest_sha256(clips) != held.facts.manifest_sha256 and not _same_sentences(held, clips):
        raise InputError(
            f"{held.path}: the clips or sentences of {held.split} are not those of {run.manifest}. "
            f"Extract again: {run.command(f'extract-features --split {held.split}')}"
        )


def _same_sentences(held: FeatureCache, clips: Sequence[Clip]) -> bool:
    """Whether imported features, whose maker has seen no manifest, are of just these clips and sentences."""
    if held.spec.level != IMPORTED:
        return False
    missing = {failure.clip_id for failure in held.missing}
    sentences = {clip.id: clip.text for clip in clips if clip.id not in missing}
    return sentences == dict(zip(held.ids, held.texts, strict=True))


def _draw_avatar(run: Run) -> list[Clip]:
    from slt_cache.corpora.avatar import write_avatar  # brings PyAV; stage 2 comes through this module too

    with progress_bar("drawing clips") as progress:
        return write_avatar(run.config.corpus, run.corpus, progress)


def _read_own(run: Run, corpus: CorpusConfig) -> list[Clip]:
    if corpus.root is None:
        raise InputError("corpus.root: not set. Name the folder of manifest.tsv: slt-cache prepare tsv --root DIR")
    if not Path(corpus.root).is_dir():
        raise InputError(
            f"corpus.root {corpus.root}: there is no such folder. Name the folder that holds manifest.tsv."
        )
    return read_manifest(Path(corpus.root) / SOURCE_MANIFEST)


def _problems(clips: Sequence[Clip]) -> dict[str, list[str]]:
    """Clips that cannot be used as they stand, by kind."""
    absent = [clip.id for clip in clips if not clip.video.exists()]
    repeated = [text for text, count in Counter((clip.video, clip.start) for clip in clips).items() if count > 1]
    found = {"video not found": absent, "same video and start on several lines": [str(video) for video, _ in repeated]}
    return {kind: ids for kind, ids in found.items() if ids}


def _source_sha256(corpus: CorpusConfig) -> str | None:
    """Of one's own manifest, to notice that it was edited; None where there is none (any more)."""
    path = Path(corpus.root or "") / SOURCE_MANIFEST
    if corpus.name != "tsv" or not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()
