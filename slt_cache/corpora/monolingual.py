"""Sentences without video, for training an LLM on text alone, each with its language if there are several."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from slt_cache.corpora.base import Clip
from slt_cache.corpora.languages import short_name
from slt_cache.corpora.own_table import read_sentences
from slt_cache.errors import InputError


class Line(NamedTuple):
    """One line of such a text."""

    text: str
    language: str = ""
    """Short name of its language; empty if there is only one."""


def lines_of(clips: Iterable[Clip]) -> list[Line]:
    """Returns the sentences of clips."""
    return [Line(clip.text, clip.language) for clip in clips]


def read_monolingual(path: Path, option: str, languages: Sequence[str], remark: Callable[[str], None]) -> list[Line]:
    """Reads a file of sentences, one a line; with several `languages` each line begins with one of them and a tab.
    `option` named the file, for errors; `remark` is called with anything odd. Raises InputError if the file is missing,
    not UTF-8 or empty, or if a line names no language."""
    sentences = read_sentences(path, option, remark)
    if len(languages) < 2:
        return [Line(sentence) for sentence in sentences]
    return [_line(sentence, path, option, languages) for sentence in sentences]


def _line(sentence: str, path: Path, option: str, languages: Sequence[str]) -> Line:
    language, tab, text = sentence.partition("\t")
    found = short_name(language.strip())
    if not tab or found not in languages or not text.strip():
        raise InputError(
            f"{option} {path}: the line {sentence[:60]!r} does not begin with one of {', '.join(languages)} and a tab. "
            "Put the language of each sentence before it, since there are several."
        )
    return Line(text.strip(), found)


def monolingual_text(lines: Iterable[Line]) -> str:
    """Returns the text of a file that `read_monolingual` reads."""
    return "".join(f"{line.language}\t{line.text}\n" if line.language else f"{line.text}\n" for line in lines)
