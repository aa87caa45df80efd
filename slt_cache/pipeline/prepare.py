"""A corpus in, the run's manifest and preparation report out."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slt_cache.advice import command
from slt_cache.config import CorpusConfig, differences
from slt_cache.corpora.characters import is_there
from slt_cache.corpora.clips import Clip, of_split
from slt_cache.corpora.manifest import read_manifest, write_manifest
from slt_cache.corpora.official import Problems, Reading, count_by_split
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.spec import IMPORTED
from slt_cache.files import read_json, write_json
from slt_cache.pipeline.corpora import read_corpus
from slt_cache.pipeline.own_corpus import LANGUAGE, SOURCE_MANIFEST, TO_CORRECT, TOO_LONG, Look
from slt_cache.pipeline.run import Run
from slt_cache.pipeline.terminal import say_what_waits

NOT_PUBLISHED = "not the published count"


@dataclass(frozen=True)
class Preparation:
    """What `prepare` found."""

    manifest: Path
    counts: dict[str, int]
    """Clips of each split."""
    published: dict[str, list[int]]
    """Of each split of an official corpus: the published number of rows, then other numbers of clips that were
    published."""
    published_as: dict[str, str]
    """The same in words."""
    findings: Problems
    """Everything odd, by kind; the report lists it too."""
    unusable: list[str]
    """Splits of an official corpus that have no clip, or none whose video is there."""
    to_correct: list[str]
    """Kinds of problems, of one's own corpus, that a training would meet."""
    report: Path

    @property
    def problems(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {kind: len(entries) for kind, entries in self.findings.items()}


def prepare(run: Run, look: Look | None = None) -> Preparation:
    """Makes the manifest of the run's corpus; the videos of one's own are opened if there is a `look`. Raises
    InputError where there is nothing to make it of."""
    reading = read_corpus(run, look)
    counts = count_by_split(reading.clips)
    found = {NOT_PUBLISHED: _deviations(reading, counts), **reading.problems, **_for_llm(run, reading.clips)}
    problems = {kind: entries for kind, entries in found.items() if entries}
    published = {split: list(size.numbers) for split, size in reading.published.items()}
    published_as = {split: str(size) for split, size in reading.published.items()}
    report = _report(run.config.corpus, reading, {"counts": counts, "published": published, "problems": problems})
    try:
        write_json(run.preparation, report)  # before the manifest, which says that all of it is there
        write_manifest(run.manifest, reading.clips)
    except UnicodeEncodeError as error:
        raise InputError(
            f"{run.config.corpus.root!a}: a file or folder in it has a name that is not UTF-8 "
            f"({error.object[max(0, error.start - 40) : error.end]!a}). Rename it."
        ) from error
    unusable = [
        split for split in published if not any(is_there(clip.video) for clip in of_split(reading.clips, split))
    ]
    to_correct = [kind for kind in TO_CORRECT if kind in problems and run.config.corpus.name == "tsv"]
    return Preparation(run.manifest, counts, published, published_as, problems, unusable, to_correct, run.preparation)


def _for_llm(run: Run, clips: Sequence[Clip]) -> Problems:
    """What the LLM would stumble over, after stage 1 was trained."""
    if run.config.corpus.name == "avatar":
        return {}
    from slt_cache.pipeline.fits_llm import language_problem, too_long  # brings torch

    language = language_problem(run.config) if run.config.corpus.name == "tsv" else None
    long = [] if language is not None else too_long(run, clips)
    return {
        LANGUAGE: [] if language is None else [language],
        TOO_LONG: long,
    }


def _report(corpus: CorpusConfig, reading: Reading, results: dict[str, Any]) -> dict[str, Any]:
    """What prepare.json holds."""
    # named below the corpus' folder, so that the corpus may be moved
    sources = [str(path.relative_to(corpus.root or "")) for path in reading.sources]
    return {
        "corpus": corpus.model_dump(mode="json"),
        "sources": sources,
        "source_sha256": _source_sha256(corpus, sources),
        "named": reading.named,
        "signers": dict(Counter(clip.signer for clip in reading.clips if clip.signer)),
        **results,
        "findings": reading.findings,
    }


def _deviations(reading: Reading, counts: dict[str, int]) -> list[str]:
    """Splits with another number of rows or clips than published."""
    lines: list[str] = []
    for split, size in reading.published.items():
        if reading.named[split] != size.rows or counts[split] not in size.numbers:
            here = f"{counts[split]:,} clips of {reading.named[split]:,} rows"
            lines.append(f"{split}: {here}; published are {size}")
    return lines


def ensure_clips(run: Run) -> list[Clip]:
    """The clips of the run; prepares the corpus where that was not done yet. Raises InputError where the manifest
    is that of another corpus than the run asks for."""
    say_what_waits()
    if not run.manifest.is_file():
        prepare(run)
    elif run.preparation.is_file():
        _check_preparation(run, read_json(run.preparation))
    return read_manifest(run.manifest)


def _check_preparation(run: Run, made: dict[str, Any]) -> None:
    corpus = run.config.corpus
    settings = {**CorpusConfig().model_dump(mode="json"), **made["corpus"]}  # one made before a setting came has not it
    different = differences(settings, corpus.model_dump(mode="json"), "corpus.")
    if different:
        raise InputError(
            f"{run.manifest} was prepared with other settings ({'; '.join(different)}). "
            "Choose another run folder with --run, or go back to these settings."
        )
    sources = made.get("sources", [SOURCE_MANIFEST] if corpus.name == "tsv" else [])
    if _source_sha256(corpus, sources) not in (None, made["source_sha256"]):
        changed = sources[0] if len(sources) == 1 else "an annotation file"
        raise InputError(
            f"{corpus.root}: {changed} has changed since {run.manifest} was made from it. "
            f"Prepare again: {run.command('prepare', corpus.name, root=corpus.root)}"
        )


def require_split(run: Run, clips: Sequence[Clip], split: str) -> list[Clip]:
    """The clips of a split that must not be empty."""
    chosen = of_split(clips, split)
    if not chosen:
        raise InputError(
            f"{run.manifest}: no clips of split {split!r}, only of {_counted(clips)}. {_advice(run, split)}"
        )
    return chosen


def _counted(clips: Sequence[Clip]) -> str:
    return ", ".join(f"{name} ({many:,})" for name, many in count_by_split(clips).items() if many)


def _advice(run: Run, split: str) -> str:
    """What to do without clips of a split."""
    own = Path(run.config.corpus.root or "") / SOURCE_MANIFEST if run.config.corpus.name == "tsv" else None
    if split != "train":
        return f"Add some to {own or 'the corpus'} and prepare again, or choose another split."
    return (
        f"A training needs some: add lines of train to {own or 'the corpus'} and prepare again. "
        f"To score these clips with a trained run: {command('eval', manifest=own, run='RUN')}"
    )


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
            f"Extract again: {run.command('extract-features', split=held.split, features=_named(run, held.path))}"
        )


def _named(run: Run, cache: Path) -> Path | None:
    """The cache as a command has to name it; None for the run's own."""
    return None if cache == run.features else cache


def _same_sentences(held: FeatureCache, clips: Sequence[Clip]) -> bool:
    """Whether imported features, whose maker has seen no manifest, are of just these clips and sentences."""
    if held.spec.level != IMPORTED:
        return False
    missing = {failure.clip_id for failure in held.missing}
    sentences = {clip.id: clip.text for clip in clips if clip.id not in missing}
    return sentences == dict(zip(held.ids, held.texts, strict=True))


def _source_sha256(corpus: CorpusConfig, sources: Sequence[str]) -> str | None:
    """Of the manifest or the annotation files, to notice an edit; None where one is not there (any more)."""
    paths = [Path(corpus.root or "") / source for source in sources]
    if not paths or not all(path.is_file() for path in paths):
        return None
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
