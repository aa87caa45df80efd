"""Corpus of a run: reading it, opening its videos, and advice if they are gone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slt_cache.corpora.base import Clip, CorpusScan, Problems
from slt_cache.corpora.characters import is_there, those_there
from slt_cache.corpora.registry import corpus_of
from slt_cache.corpora.same_sentences import shared_sentences
from slt_cache.corpora.same_videos import shared_videos
from slt_cache.errors import InputError
from slt_cache.runs.run import Run


@dataclass(frozen=True)
class BadClip:
    """Clip that cannot be read, with the reason."""

    clip: Clip
    reason: str

    def __str__(self) -> str:
        return f"clip {self.clip.id!r} ({self.clip.video}): {self.reason}"


@dataclass(frozen=True)
class Probe:
    """Result of opening all videos."""

    bad: tuple[BadClip, ...]
    """Unreadable clips, in order."""
    past_end: tuple[BadClip, ...]
    """Readable clips that end after their video."""
    num_frames: dict[str, int]
    """T of each readable clip."""
    seconds: dict[str, float]
    """Length of each readable clip that has no end of its own or ends after its video; none of folders of frames."""


ProbeClips = Callable[[Run, Sequence[Clip]], Probe]
"""Function that opens the videos of a run's clips."""

FindSigners = Callable[[Run, Sequence[Clip]], tuple[list[Clip], Problems]]
"""Function that returns a run's clips with the boxes of their signers, and those without a signer."""


def read_corpus(run: Run) -> CorpusScan:
    """Reads the run's corpus. Raises InputError if there is nothing to read, or it is broken."""
    corpus = corpus_of(run.config)
    if corpus.root_holds is not None:
        _require_root(run, corpus.root_holds)
    scan = corpus.read(run.config.corpus, run.corpus, lambda: not has_trained(run))
    if not corpus.is_drawn:
        scan.problems.update({**shared_videos(scan.clips), **shared_sentences(scan.clips)})
    return scan


def _require_root(run: Run, holds: str) -> None:
    name, root = run.config.corpus.name, run.config.corpus.root
    if root is None:
        again = run.command("prepare", name, root="DIR")
        raise InputError(f"corpus.root: not set. Name the folder of {holds}: {again}")
    if not Path(root).is_dir():
        found = "a file" if Path(root).is_file() else "no such folder"
        raise InputError(f"corpus.root {root}: {found}. Name the folder of {holds}.")


def has_trained(run: Run) -> bool:
    """Returns whether anything was trained in the run folder."""
    from slt_cache.runs import derived  # imports torch

    return derived.has_trained(run)


def require_corpus(run: Run, clips: Sequence[Clip]) -> None:
    """Raises InputError if the whole corpus is no longer where it was; single clips without video pass."""
    error = moved_corpus(run, clips)
    if error is not None:
        raise error


def moved_corpus(run: Run, clips: Sequence[Clip]) -> InputError | None:
    """Returns an error with advice if the whole corpus is no longer where it was; None if it is."""
    there = those_there(clip.video for clip in clips)
    absent = [clip for clip in clips if clip.video not in there]
    return absent_videos(run, absent, len(clips)) if _has_moved(run, len(absent), len(clips)) else None


def absent_videos(run: Run, absent: Sequence[Clip], total: int, choice: str = "") -> InputError:
    """Returns the error for clips, out of `total`, without video, with advice on a corpus that moved, or on single
    clips, for which `choice` is one more option."""
    named = ", ".join(f"{clip.id!r} ({clip.video})" for clip in absent[:3])
    more = f", and {len(absent) - 3:,} more" if len(absent) > 3 else ""
    advice = _advice_on_absent(run, len(absent), total, choice)
    return InputError(f"{len(absent)} of {total} clips have no video, such as {named}{more}. {advice}")


def _advice_on_absent(run: Run, absent: int, total: int, choice: str) -> str:
    if not _has_moved(run, absent, total):
        return f"Put the videos there, or remove the clips from the manifest{choice or '.'}"
    if not run.preparation.is_file():
        return f"If they moved, correct the paths in {run.manifest}."
    corpus = run.config.corpus
    if corpus_of(run.config).is_drawn and corpus.root is None:
        return f"Draw them again: {run.command('prepare', corpus.name)}"
    if corpus.merged:
        return (
            f"If a corpus moved, prepare it again with its new folder, and then: {run.command('prepare', corpus.name)}"
        )
    return f"If the corpus moved, give its new folder: {run.command('prepare', corpus.name, root='DIR')}"


def _has_moved(run: Run, absent: int, total: int) -> bool:
    """Returns whether the whole corpus is missing rather than single clips."""
    root = run.config.corpus.root
    return absent > 0 and (2 * absent > total or (root is not None and not is_there(Path(root))))
