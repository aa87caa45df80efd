"""The corpora by name: a run's corpus settings in, its clips and everything odd about them out."""

from collections.abc import Sequence
from pathlib import Path

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import Clip
from slt_cache.corpora.characters import is_there
from slt_cache.corpora.official import CorpusScan, count_by_split, existing_root
from slt_cache.corpora.same_videos import shared_videos
from slt_cache.errors import InputError
from slt_cache.pipeline.own_corpus import Look, read_own
from slt_cache.progress import log, progress_bar
from slt_cache.runs.run import Run


def read_corpus(run: Run, look: Look | None = None) -> CorpusScan:
    """The run's corpus; the videos of one's own are opened if there is a `look`. Raises InputError where there is
    nothing to read, or where it is broken."""
    corpus = run.config.corpus
    if corpus.name == "avatar":
        return _draw_avatar(run, corpus)
    reading = read_own(run, corpus, look) if corpus.name == "tsv" else _read_official(corpus)
    reading.problems.update(shared_videos(reading.clips, contents=corpus.name in ("tsv", "how2sign")))
    return reading


def require_corpus(run: Run, clips: Sequence[Clip]) -> None:
    """Raises InputError if the corpus as a whole is no longer where it was; single clips without a video pass."""
    error = moved_corpus(run, clips)
    if error is not None:
        raise error


def moved_corpus(run: Run, clips: Sequence[Clip]) -> InputError | None:
    """Says what to do if the corpus as a whole is no longer where it was."""
    absent = [clip for clip in clips if not is_there(clip.video)]
    return absent_videos(run, absent, len(clips)) if _has_moved(run, len(absent), len(clips)) else None


def absent_videos(run: Run, absent: Sequence[Clip], total: int, choice: str = "") -> InputError:
    """Says of how many clips, out of `total`, the video is not there, and what to do: about a corpus that has moved, or
    about single clips, which leave one more `choice`."""
    named = ", ".join(f"{clip.id!r} ({clip.video})" for clip in absent[:3])
    more = f", and {len(absent) - 3:,} more" if len(absent) > 3 else ""
    advice = _advice_on_absent(run, len(absent), total, choice)
    return InputError(f"{len(absent)} of {total} clips have no video, such as {named}{more}. {advice}")


def _advice_on_absent(run: Run, absent: int, total: int, choice: str) -> str:
    if not _has_moved(run, absent, total):
        return f"Put the videos there, or take the clips out of the manifest{choice or '.'}"
    if not run.preparation.is_file():
        return f"If they have moved, correct the paths in {run.manifest}."
    corpus = run.config.corpus
    if corpus.name == "avatar" and corpus.root is None:
        return f"Draw them again: {run.command('prepare avatar')}"
    return f"If the corpus has moved, name its new folder: {run.command('prepare', corpus.name, root='DIR')}"


def _has_moved(run: Run, absent: int, total: int) -> bool:
    """Whether it is the corpus that is missing and not single clips."""
    root = run.config.corpus.root
    return absent > 0 and (2 * absent > total or (root is not None and not is_there(Path(root))))


def _draw_avatar(run: Run, corpus: CorpusConfig) -> CorpusScan:
    from slt_cache.corpora.avatar import is_of_other_settings, write_avatar  # brings PyAV, and stage 2 comes here too
    from slt_cache.runs.derived import has_trained  # brings torch

    replace = corpus.root is None and is_of_other_settings(corpus, run.corpus) and not has_trained(run)
    if replace:
        log(f"{run.corpus} is drawn again with the new settings, since nothing was trained on it")
    with progress_bar("drawing clips") as progress:
        clips = write_avatar(corpus, run.corpus, progress, replace=replace)
    return CorpusScan(clips, count_by_split(clips), {}, {}, {}, [])


def _read_official(corpus: CorpusConfig) -> CorpusScan:
    from slt_cache.corpora.csl_daily import read_csl_daily
    from slt_cache.corpora.how2sign import read_how2sign
    from slt_cache.corpora.phoenix14t import read_phoenix14t

    root = existing_root(corpus.root, corpus.name)
    with progress_bar("looking at videos") as progress:
        if corpus.name == "phoenix14t":
            return read_phoenix14t(root, progress)
        if corpus.name == "csl-daily":
            return read_csl_daily(root, progress)
        return read_how2sign(root, corpus.clips_from, progress)
