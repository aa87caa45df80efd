"""Preparation of a corpus: corpus in, the run's manifest and preparation report out."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slt_cache.advice import command
from slt_cache.config import CorpusConfig, differences
from slt_cache.corpora.base import Clip, Corpus, CorpusScan, Problems, count_by_split, of_split
from slt_cache.corpora.characters import those_there
from slt_cache.corpora.empty_splits import deviations, faults_of_annotation, unusable_splits
from slt_cache.corpora.lengths import LENGTHS_FILE, kept_lengths, seconds_by_clip, seconds_of
from slt_cache.corpora.manifest import read_manifest, write_manifest
from slt_cache.corpora.own import ABSENT, EMPTY_SPLIT
from slt_cache.corpora.registry import corpus_of, language_code, require_languages
from slt_cache.corpora.source_files import have_changed, sources_sha256
from slt_cache.corpora.statistics import Statistics, statistics_of
from slt_cache.errors import InputError
from slt_cache.hashes import PREPARATION_UNSIGNED, file_sha256, read_signed, write_signed
from slt_cache.pipeline.run_corpus import FindSigners, Probe, ProbeClips, has_trained, read_corpus
from slt_cache.progress import log, log_waiting
from slt_cache.runs.run import Run
from slt_cache.runs.saved_settings import save_corpus, save_settings
from slt_cache.text.scripts import has_spaces

NOT_PUBLISHED = "not the published count"
UNREADABLE = "video that cannot be read"
PAST_END = "ends after its video does"
TOO_LONG = "sentence longer than the LLM"
LANGUAGE = "language"
TOO_MANY_STEPS = "clip longer than the LLM"
TO_CORRECT = (ABSENT, UNREADABLE, PAST_END, EMPTY_SPLIT, TOO_LONG, TOO_MANY_STEPS, LANGUAGE)
"""Kinds of problems that stop a training; others do not."""


@dataclass(frozen=True)
class Preparation:
    """Result of `prepare`."""

    manifest: Path
    counts: dict[str, int]
    """Number of clips of each split."""
    published: dict[str, list[int]]
    """Published number of rows of each split of an official corpus, followed by other published numbers of clips."""
    published_as: dict[str, str]
    """Published numbers in words."""
    findings: Problems
    """Irregularities by kind; the report lists them too."""
    unusable: list[str]
    """Splits of an official corpus in which no clip has a video."""
    faults: list[str]
    """Kinds of problems with the annotation that explain it; empty if the videos are missing."""
    to_correct: list[str]
    """Kinds of problems in your own corpus that would stop a training."""
    report: Path
    clips: Sequence[Clip]
    """Clips of the manifest."""
    seconds_of: Callable[[Clip], float | None]
    """Function to the length of a clip; None if unknown."""
    statistics: Statistics

    @property
    def problems(self) -> dict[str, int]:
        """Number of problems of each kind."""
        return {kind: len(entries) for kind, entries in self.findings.items()}


def prepare(run: Run, probe_clips: ProbeClips | None = None, find_signers: FindSigners | None = None) -> Preparation:
    """Writes the manifest of the run's corpus, and saves the settings."""
    made = make_manifest(run, probe_clips, find_signers, opens=True)
    save_settings(run, "corpus")
    return made


def make_manifest(
    run: Run, probe_clips: ProbeClips | None = None, find_signers: FindSigners | None = None, opens: bool = False
) -> Preparation:
    """Writes the manifest of the run's corpus; `probe_clips` opens the videos if it is your own, `find_signers` those
    in which the signer is to be found, and with `opens` those of other corpora are opened to count hours. Raises
    InputError if there is nothing to read."""
    corpus = corpus_of(run.config)
    with kept_lengths(run.folder / LENGTHS_FILE):
        scan = read_corpus(run)
        if not scan.clips and not corpus.published:
            raise InputError(_no_clip(run.config.corpus, scan.problems))
        if run.config.corpus.find_signer:
            scan = _with_signers(run, scan, find_signers)
        probe = _probe(run, scan, probe_clips) if corpus.is_own and probe_clips is not None else None
        length_of = _seconds_of(corpus, scan, probe, opens)
    counts = count_by_split(scan.clips)
    found = {
        NOT_PUBLISHED: deviations(corpus.published, scan.named, counts),
        **scan.problems,
        **({} if probe is None else _of_videos(run, scan, probe)),
        **({} if corpus.is_drawn else _for_llm(run, scan.clips)),
    }
    problems = {kind: entries for kind, entries in found.items() if entries}
    language = language_code(run.config)
    statistics = statistics_of(scan.clips, length_of, None if language is None else not has_spaces(language), problems)
    published = {split: list(size.numbers) for split, size in corpus.published.items()}
    published_as = {split: str(size) for split, size in corpus.published.items()}
    results = {"counts": counts, "published": published, "problems": problems, "statistics": statistics.to_json()}
    report = _report(run.config.corpus, scan, results)

    def write_report(manifest_sha256: str) -> None:
        write_signed(run.preparation, {**report, "manifest_sha256": manifest_sha256}, PREPARATION_UNSIGNED)

    try:
        write_manifest(run.manifest, scan.clips, write_report)  # the report first: the manifest marks completion
    except UnicodeEncodeError as error:
        raise InputError(
            f"{run.config.corpus.root!a}: a file or folder in it has a name that is not UTF-8 "
            f"({error.object[max(0, error.start - 40) : error.end]!a}). Rename it."
        ) from error
    unusable = unusable_splits(corpus, scan)
    faults = faults_of_annotation(scan, unusable)
    to_correct = [kind for kind in TO_CORRECT if kind in problems and corpus.is_own]
    return Preparation(
        manifest=run.manifest,
        counts=counts,
        published=published,
        published_as=published_as,
        findings=problems,
        unusable=unusable,
        faults=faults,
        to_correct=to_correct,
        report=run.preparation,
        clips=scan.clips,
        seconds_of=length_of,
        statistics=statistics,
    )


def _with_signers(run: Run, scan: CorpusScan, find_signers: FindSigners | None) -> CorpusScan:
    if find_signers is None:  # a training, which may load no video code
        raise InputError(f"corpus.find_signer: the signers are found by prepare. Run it: {_again(run)}")
    clips, problems = find_signers(run, scan.clips)
    return replace(scan, clips=clips, problems={**scan.problems, **problems})


def _probe(run: Run, scan: CorpusScan, probe_clips: ProbeClips) -> Probe:
    there = those_there(clip.video for clip in scan.clips)
    return probe_clips(run, [clip for clip in scan.clips if clip.video in there])


def _seconds_of(corpus: Corpus, scan: CorpusScan, probe: Probe | None, opens: bool) -> Callable[[Clip], float | None]:
    """Returns a function to the length of each clip. The videos of your own corpus are opened by the probe alone."""
    if opens and not corpus.is_own:
        return seconds_by_clip(scan.clips, scan.media, corpus.frame_rate)
    known = {} if probe is None else probe.seconds
    return lambda clip: known.get(clip.id) or seconds_of(clip, scan.media.get(clip.video), corpus.frame_rate)


def _of_videos(run: Run, scan: CorpusScan, probe: Probe) -> Problems:
    """Returns the problems found by opening the videos."""
    return {
        UNREADABLE: [f"{_place(scan, bad.clip.id)} ({bad.clip.video}): {bad.reason}" for bad in probe.bad],
        PAST_END: [f"{_place(scan, late.clip.id)} ({late.clip.video}): {late.reason}" for late in probe.past_end],
        TOO_MANY_STEPS: [f"{_place(scan, clip_id)}: {reason}" for clip_id, reason in _too_many_steps(run, probe)],
    }


def _place(scan: CorpusScan, clip_id: str) -> str:
    return f"line {scan.lines[clip_id]}: {clip_id}" if clip_id in scan.lines else clip_id


def _too_many_steps(run: Run, probe: Probe) -> list[tuple[str, str]]:
    """Returns the clips with more kept frames than the LLM has positions, each with its reason."""
    from slt_cache.pipeline.fits_llm import room_of  # imports torch

    every, room = run.config.video.keep_every, room_of(run.config.llm.source)
    return [
        (clip_id, f"{many:,} kept frames, too many for the LLM's {room.steps:,} positions")
        for clip_id, frames in probe.num_frames.items()
        if room is not None and (many := math.ceil(frames / every)) > room.steps
    ]


def _no_clip(corpus: CorpusConfig, problems: Problems) -> str:
    found = "; ".join(f"{kind}: {entries[0]}" for kind, entries in problems.items())
    return (
        f"corpus.root {corpus.root}: no clip can be read ({found or 'the annotation is empty'}). Get the files again."
    )


def _for_llm(run: Run, clips: Sequence[Clip]) -> Problems:
    """Returns the problems that the LLM would only report after stage 1 is trained."""
    from slt_cache.pipeline.fits_llm import language_problem, too_long  # imports torch

    has_own = corpus_of(run.config).language_code(run.config.corpus) is not None
    language = None if has_own else language_problem(run.config)
    return {
        LANGUAGE: [] if language is None else [language],
        TOO_LONG: too_long(run, clips) if language is None else [],
    }


def _report(corpus: CorpusConfig, scan: CorpusScan, results: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of prepare.json."""
    # relative to the corpus' folder, so that the corpus may be moved
    sources = [str(path if corpus.root is None else path.relative_to(corpus.root)) for path in scan.sources]
    return {
        "corpus": corpus.of_manifest(),
        "sources": sources,
        "source_sha256": sources_sha256(Path(corpus.root or ""), sources),
        "named": scan.named,
        "signers": dict(Counter(clip.signer for clip in scan.clips if clip.signer)),
        **results,
        "findings": scan.findings,
    }


def ensure_clips(run: Run) -> list[Clip]:
    """Returns the clips of the run, preparing the corpus if needed. Raises InputError if the manifest was made from
    another corpus than the run asks for."""
    log_waiting()
    if not run.manifest.is_file():
        make_manifest(run)
        save_corpus(run)
    elif run.preparation.is_file():
        made = read_signed(run.preparation, PREPARATION_UNSIGNED)
        try:
            _check_preparation(run, made)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{run.preparation}: damaged, or written by another version ({error!r}). Prepare again: {_again(run)}"
            ) from error
        changed = changed_manifest(run)
        if changed:
            log(changed)
    clips = read_manifest(run.manifest)
    require_languages(run.config, (clip.language for clip in clips), str(run.manifest))
    return clips


def _again(run: Run) -> str:
    return run.command("prepare", run.config.corpus.name, root=run.config.corpus.root)


def changed_manifest(run: Run) -> str:
    """Returns a message if the manifest differs from what `prepare` wrote; empty otherwise, or if unknown."""
    if not run.preparation.is_file() or not run.manifest.is_file():
        return ""
    written = read_signed(run.preparation, PREPARATION_UNSIGNED).get("manifest_sha256")
    if written in (None, file_sha256(run.manifest)):
        return ""
    return f"{run.manifest} is not as `prepare` wrote it: edited or damaged. To write it again: {_again(run)}"


def _check_preparation(run: Run, made: dict[str, Any]) -> None:
    corpus = run.config.corpus
    settings = {**CorpusConfig().of_manifest(), **made["corpus"]}  # older ones lack newer settings
    different = differences(settings, corpus.of_manifest(), "corpus.")
    if different and not has_trained(run):
        log(f"{run.manifest} is rebuilt, since nothing was trained on it ({'; '.join(different)})")
        make_manifest(run)
        save_corpus(run)
        return
    if different:
        raise InputError(
            f"{run.manifest} was prepared with other settings ({'; '.join(different)}). "
            "Choose another run folder with --run, or go back to these settings."
        )
    if have_changed(Path(corpus.root or ""), made, run.folder):
        sources = made["sources"]
        changed = sources[0] if len(sources) == 1 else "an annotation file"
        raise InputError(
            f"{corpus.root or corpus.name}: {changed} has changed since {run.manifest} was made from it. Prepare "
            f"again: {_again(run)}"
        )


def require_split(run: Run, clips: Sequence[Clip], split: str) -> list[Clip]:
    """Returns the clips of a split. Raises InputError if there are none."""
    chosen = of_split(clips, split)
    if not chosen:
        raise InputError(
            f"{run.manifest}: no clips of split {split!r}, only of {_counted(clips)}. {_advice(run, split)}"
        )
    return chosen


def _counted(clips: Sequence[Clip]) -> str:
    return ", ".join(f"{name} ({many:,})" for name, many in count_by_split(clips).items() if many)


def _advice(run: Run, split: str) -> str:
    """Returns what to do about a split without clips."""
    corpus = corpus_of(run.config)
    own = Path(run.config.corpus.root or "") / str(corpus.root_holds) if corpus.is_own else None
    if split != "train":
        return f"Add some to {own or 'the corpus'} and prepare again, or choose another split."
    return (
        f"A training needs some: add lines of train to {own or 'the corpus'} and prepare again. "
        f"To score these clips with a trained run: {command('eval', manifest=own, run='RUN')}"
    )
