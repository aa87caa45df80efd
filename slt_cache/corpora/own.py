"""Your own corpus, a folder with manifest.tsv: its clips, and everything that would stop a training or spoil its
scores, each with the number of its line. Opens no video."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slt_cache.advice import command
from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import SPLITS, Clip, Corpus, CorpusScan, count_by_split, languages_of
from slt_cache.corpora.characters import doubtful, those_there
from slt_cache.corpora.manifest import COLUMNS, BadLines, OwnManifest, bad_lines, read_own_manifest
from slt_cache.corpora.official import BREAK_REPLACED
from slt_cache.corpora.own_table import lines_named
from slt_cache.errors import InputError

SOURCE_MANIFEST = "manifest.tsv"
"""Name of your own manifest in corpus.root."""
TABLE_SUFFIXES = (".tsv", ".csv", ".txt", ".xlsx", ".xls", ".ods")
MAX_LINES = 200
"""Most bad lines in an error."""
ABSENT = "video not found"
EMPTY_SPLIT = "split without a clip"
WITHOUT = {"train": ": needed for training; to score clips with a trained run: {}"}
"""What to do without a split."""
QUOTES_REMOVED = "quotes of csv, removed"
QUOTES_KEPT = "values that look quoted (kept as they are)"


class Own(Corpus):
    """A manifest that you wrote yourself."""

    root_holds = SOURCE_MANIFEST
    is_own = True

    def read(self, settings: CorpusConfig, folder: Path, may_replace: Callable[[], bool]) -> CorpusScan:
        return read_own(folder)

    def decided(self, settings: CorpusConfig) -> dict[str, Any]:
        """Returns the languages of the column `language`, if there is one; a broken manifest is refused by `read`."""
        path = Path(settings.root or "") / SOURCE_MANIFEST
        if settings.root is None or not path.is_file():
            return {}
        try:
            return {"languages": languages_of(read_own_manifest(path).clips)}
        except InputError:
            return {}


CORPUS: Corpus = Own()


def read_own(folder: Path) -> CorpusScan:
    """Reads manifest.tsv of a folder. Raises InputError that names all bad lines, and the missing videos with them."""
    path = folder / SOURCE_MANIFEST
    if not path.exists():
        raise InputError(_no_manifest(path))
    manifest = _read(path)
    clips = manifest.clips
    problems = {
        ABSENT: [f"line {number}: {clip.id} ({clip.video})" for number, clip in absent(manifest.numbered)],
        EMPTY_SPLIT: [
            f"{split}{WITHOUT.get(split, '').format(command('eval', manifest=path, run='RUN'))}"
            for split in SPLITS
            if not any(clip.split == split for clip in clips)
        ],
        "same video and start on several lines": _repeated(manifest.numbered),
        QUOTES_REMOVED: [f"line {number}" for number in manifest.unquoted],
        QUOTES_KEPT: [f"line {number}" for number in manifest.doubtful],
        BREAK_REPLACED: [f"line {number}" for number in manifest.broken],
        **doubtful((f"line {number}: {clip.id}", clip.text) for number, clip in manifest.numbered),
    }
    found = {kind: entries for kind, entries in problems.items() if entries}
    lines = {clip.id: number for number, clip in manifest.numbered}
    return CorpusScan(clips, count_by_split(clips), found, sources=[path], lines=lines)


def _no_manifest(path: Path) -> str:
    tables = sorted(other.name for other in path.parent.iterdir() if other.suffix.lower() in TABLE_SUFFIXES)
    found = f"found: {', '.join(tables[:5])}; " if tables else ""
    return (
        f"{path}: there is no such file ({found}expected: UTF-8 text, tab-separated, a line for each clip under the "
        f"header {' '.join(COLUMNS)})."
    )


def absent(numbered: Sequence[tuple[int, Clip]]) -> list[tuple[int, Clip]]:
    """Returns the clips whose video does not exist, with their lines."""
    there = those_there(clip.video for _, clip in numbered)
    return [(number, clip) for number, clip in numbered if clip.video not in there]


def _read(path: Path) -> OwnManifest:
    try:
        return read_own_manifest(path)
    except BadLines as error:
        wrong = [(number, f"video not found: {clip.video}") for number, clip in absent(error.clips)]
        lines = [f"  line {number}: {problem}" for number, problem in sorted([*error.problems, *wrong])]
        more = f"  ... and {len(lines) - MAX_LINES:,} more" if len(lines) > MAX_LINES else ""
        quoted = f"Values look quoted on {lines_named(error.doubtful)}." if error.doubtful else ""
        found = [f"{path}: {bad_lines(len(lines))}:", *lines[:MAX_LINES], more, quoted]
        raise InputError("\n".join(filter(None, found))) from error


def _repeated(numbered: Sequence[tuple[int, Clip]]) -> list[str]:
    counts = Counter((clip.video, clip.start) for _, clip in numbered)
    lines: dict[tuple[Path, float | None], list[int]] = {key: [] for key, count in counts.items() if count > 1}
    for number, clip in numbered:
        if (clip.video, clip.start) in lines:
            lines[clip.video, clip.start].append(number)
    return [f"lines {', '.join(map(str, numbers))}: {video}" for (video, _), numbers in lines.items()]
