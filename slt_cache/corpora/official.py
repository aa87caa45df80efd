"""The common part of the readers of official corpora: annotation files in, usable sentences and a list of
irregularities out. Reads text and file names; opens no video. A sentence here has no field for a gloss, so none gets
through."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import Any

from slt_cache.corpora.base import SPLITS, Clip, Problems
from slt_cache.corpora.characters import doubts
from slt_cache.errors import InputError
from slt_cache.reading import first_line

ABSENT = "named but not on disk"
NAMED_BY = "named by"
"""Beginning of the kinds for what only one of two annotation files has."""
UNNAMED = "on disk but not named"
UNREADABLE_ROW = "row that cannot be read (left out)"
EMPTY_SENTENCE = "empty sentence (left out)"
NAMED_TWICE = "named twice (the first is taken)"
LENGTH_DIFFERS = "frame count differs from the annotation"
BREAK_REPLACED = "tab or line break in a sentence, replaced by a space"
NO_ANNOTATION = "annotation file not found"
STRAY_FILE = "stray file among the frames (ignored)"
NO_FRAME = "folder without a frame"
NO_FOLDER = "folder of videos or frames not found"
ALSO_THERE = "found in several places (the first is taken)"
DEPTHS = ("", "*/", "*/*/")
"""Places of a corpus below the folder that the user names: directly in it, or up to two folders deeper."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One clip in the annotation."""

    id: str
    split: str
    text: str
    signer: str = ""
    length: int | None = None
    """Length in frames."""
    place: str = ""
    """File and line of the annotation."""
    video: str = ""
    """Name of its video without suffix, if the annotation states one; empty for the id."""


@dataclass(frozen=True, slots=True)
class MediaFile:
    """The video of one clip."""

    path: Path
    frames: int | None = None
    """None if unknown."""
    seconds: float | None = None
    """None if unknown."""


def add_issue(problems: Problems, kind: str, entries: str | Iterable[str]) -> None:
    """Adds entries to a kind of problem; without entries the kind does not appear."""
    found = [entries] if isinstance(entries, str) else list(entries)
    if found:
        problems.setdefault(kind, []).extend(_writable(entry) for entry in found)


def sentences_of(
    items: Sequence[Any], path: Path, read: Callable[[Any, str], Sentence | None], lacking: str, problems: Problems
) -> list[Sentence]:
    """Returns the sentences of the items of an annotation file. `read` gets an item and its place, and returns None for
    one that lacks what `lacking` names; these are added to the problems."""
    sentences = []
    for number, item in enumerate(items, start=1):
        place = f"{path.name} item {number}"
        sentence = read(item, place)
        if sentence is None:
            add_issue(problems, UNREADABLE_ROW, f"{place}: {lacking}")
        else:
            sentences.append(sentence)
    return sentences


def _writable(text: str) -> str:
    """Escapes lone surrogates, which file names that are not UTF-8 contain."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


def unreadable(error: OSError) -> InputError:
    """Returns the error for a file or folder that the system does not let us read."""
    return InputError(f"{error.filename}: cannot be read ({error.strerror}).")


def find(root: Path, patterns: Sequence[str], problems: Problems, folder: bool = False) -> Path | None:
    """Returns the file or folder nearest to the root that matches one of the relative patterns, in order of
    preference."""
    for depth in DEPTHS:
        for pattern in patterns:
            found = [
                path for path in sorted(root.glob(depth + pattern)) if (path.is_dir() if folder else path.is_file())
            ]
            if found:
                if len(found) > 1:
                    add_issue(problems, ALSO_THERE, ", ".join(str(path.relative_to(root)) for path in found))
                return found[0]
    return None


def read_lines(path: Path) -> list[str]:
    """Returns the lines of UTF-8 text without their ends; only a line feed ends a line. Raises InputError."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path}: not UTF-8 text (line {line}). Get the file again, or save it as UTF-8.") from error
    except OSError as error:
        raise unreadable(error) from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if not lines[-1] else lines


def read_json(path: Path) -> Any:
    """Returns the content of an annotation file in JSON. Raises InputError."""
    try:
        return json.loads("\n".join(read_lines(path)))
    except (ValueError, RecursionError) as error:  # including numbers of too many digits and too many brackets
        raise InputError(f"{path}: not complete JSON ({first_line(error)}). Get the file again.") from error


def read_table(path: Path, separator: str, columns: Sequence[str], problems: Problems) -> list[tuple[int, list[str]]]:
    """Returns line number and values of these columns, of a table with a header and no quoting.

    Raises InputError if the header lacks a column."""
    lines = read_lines(path)
    header = lines[0].split(separator) if lines else []
    places = [header.index(column) for column in columns if column in header]
    if len(places) < len(columns):
        missing = ", ".join(column for column in columns if column not in header)
        raise InputError(f"{path}: the header lacks {missing}. Is this the official file? Get it again.")
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate(lines[1:], start=2):
        values = line.split(separator)
        if len(values) == len(header):
            rows.append((number, [values[place] for place in places]))
        elif line.strip():
            wrong = f"{path.name} line {number}: {len(values)} columns, but the header has {len(header)}"
            add_issue(problems, UNREADABLE_ROW, wrong)
    return rows


def usable(sentences: Iterable[Sentence], problems: Problems) -> list[Sentence]:
    """Returns the sentences that a manifest can hold, each clip once; the text is unchanged except for tabs and line
    breaks."""
    taken: dict[str, Sentence] = {}
    for sentence in sentences:
        clip_id = sentence.id
        if not is_name(clip_id) or not is_unicode(sentence.text):
            add_issue(problems, UNREADABLE_ROW, f"{sentence.place}: {clip_id[:100]!r} is not a usable name or sentence")
        elif clip_id in taken:
            first = taken[clip_id]
            other = f" of {sentence.split}, first in {first.split}" if sentence.split != first.split else ""
            add_issue(problems, NAMED_TWICE, f"{clip_id}{other} ({sentence.place})")
        elif not sentence.text.strip():
            add_issue(problems, EMPTY_SENTENCE, clip_id)
        else:
            text = without_breaks(sentence.text)
            for kind in doubts(text):
                add_issue(problems, kind, f"{clip_id} ({sentence.place})")
            if text != sentence.text:
                add_issue(problems, BREAK_REPLACED, clip_id)
            signer = _writable(without_breaks(sentence.signer))
            if (text, signer) != (sentence.text, sentence.signer):
                sentence = replace(sentence, text=text, signer=signer)
            taken[clip_id] = sentence
    return list(taken.values())


def is_name(name: str) -> bool:
    """Returns whether a name can be a file name and an id in a manifest."""
    return bool(name.strip()) and name.isprintable() and not set(name) & set("/\\") and name not in (".", "..")


def without_breaks(text: str) -> str:
    """Replaces tabs and line breaks, which a manifest cannot hold, by spaces."""
    return text.replace("\r\n", " ").translate({ord(character): " " for character in "\t\n\r"})


def is_unicode(text: str) -> bool:
    """Returns whether a text can be written as UTF-8: lone surrogates cannot."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def join(
    sentences: Sequence[Sentence], media: Mapping[str, MediaFile], place: Callable[[Sentence], Path], problems: Problems
) -> list[Clip]:
    """Returns the clips of the sentences that have a video. If a whole split has none, as with the annotation alone,
    its clips are kept with the `place` where their video should be: imported features need no videos."""
    clips: list[Clip] = []
    for split in SPLITS:
        of_split = [sentence for sentence in sentences if sentence.split == split]
        found = [sentence for sentence in of_split if sentence.id in media]
        add_issue(problems, ABSENT, (sentence.id for sentence in of_split if sentence.id not in media))
        for sentence in found or of_split:
            path = media[sentence.id].path if sentence.id in media else place(sentence)
            clips.append(Clip(sentence.id, split, path, None, None, sentence.text, sentence.signer))
    for sentence in sentences:
        frames = media[sentence.id].frames if sentence.id in media else None
        if None not in (frames, sentence.length) and frames != sentence.length:
            add_issue(problems, LENGTH_DIFFERS, f"{sentence.id}: annotation {sentence.length}, on disk {frames}")
    return clips


def extremes(lengths: Mapping[str, float], unit: str, many: int = 10) -> dict[str, Any]:
    """Returns the longest and the shortest clips, with the unit of their length."""

    def place(clip_id: str) -> tuple[float, str]:
        return lengths[clip_id], clip_id

    return {
        "unit_of_length": unit,
        "longest": {clip_id: lengths[clip_id] for clip_id in nlargest(many, lengths, place)},
        "shortest": {clip_id: lengths[clip_id] for clip_id in nsmallest(many, lengths, place)},
    }


def compare_names(one: Iterable[str], one_name: str, other: Iterable[str], other_name: str, problems: Problems) -> None:
    """Lists the names that only one of two annotation files has."""
    these, those = set(one), set(other)
    add_issue(problems, f"{NAMED_BY} {one_name} and not by {other_name}", sorted(these - those))
    add_issue(problems, f"{NAMED_BY} {other_name} and not by {one_name}", sorted(those - these))
