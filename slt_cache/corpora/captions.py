"""Cues in, sentences with times out: repeated and overlapping captions merged, tags and sounds removed, sentences that
run over several cues joined. The rules are those of data/README.md."""

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import Problems
from slt_cache.corpora.cues import Cue
from slt_cache.corpora.official import add_issue

REPEATED = "lines of a rolling caption, repeated (merged)"
OVERLAPPING = "overlapping captions (merged)"
NO_WORDS = "caption without words, such as [Music] (left out)"
TOO_SHORT = "shorter than corpus.min_seconds (left out)"
TOO_LONG = "longer than corpus.max_seconds (left out)"
BEFORE_BEGINNING = "before the beginning of the video (left out)"
TOUCHING = 0.1
"""Seconds; captions that are less apart follow each other, and an overlap that is shorter is rounding."""
LONGEST_ROLL = 10.0
"""Most seconds of a pause over which a rolling caption keeps its last line."""
_TAG = re.compile(
    r"</?(?:c|i|b|u|s|v|em|strong|lang|ruby|rt|font|span|p)(?:[.\s][^<>]*)?/?>|<\d[\d:.,]*>|\{\\[^{}]*\}", re.IGNORECASE
)
_BREAK = re.compile(r"<br\s?/?>|\\N", re.IGNORECASE)
_SOUND = re.compile(r"\[[^\[\]]*\]|【[^【】]*】|［[^［］]*］|♪[^♪]*♪|[♪♫]|^ ?[(（][^()（）]*[)）] ?$")
_TURN = re.compile(r"^(?:>{2,} ?)?(?:[-–—] )?")
"""What marks that somebody else speaks: `>>` or a dash."""
MAX_NAME = 4
"""Most words of a speaker's name."""
_FINAL = re.compile(r"[.!?…。！？｡؟।॥።]['\"”’»)\]」』）]*$")

_ELLIPSES = ("...", "…")


@dataclass(frozen=True)
class Rules:
    """How cues become sentences."""

    shift: float = 0.0
    """Seconds that are added to all times."""
    join_up_to: float = 0.0
    """Most seconds of a sentence that is joined of several cues; 0 joins none."""
    max_gap: float = 0.0
    """Most seconds between two cues of one sentence."""
    merges: bool = False
    """Whether rolling and overlapping captions are merged."""
    drop_sounds: bool = False
    drop_speakers: bool = False
    min_seconds: float = 0.0
    max_seconds: float = float("inf")

    @classmethod
    def of(cls, settings: CorpusConfig) -> "Rules":
        """Returns the rules that the settings state."""
        return cls(
            settings.shift,
            settings.join_up_to,
            settings.max_gap,
            True,
            settings.drop_sounds,
            settings.drop_speakers,
            settings.min_seconds,
            settings.max_seconds,
        )


def sentences_of(cues: Iterable[Cue], rules: Rules, problems: Problems) -> list[Cue]:
    """Returns the sentences of one file as cues with clean text on one line; `cues` are in order of time."""
    shifted = _shifted(cues, rules.shift, problems)
    clean = _with_words((replace(cue, text=cleaned(cue.text, rules)) for cue in shifted), problems)
    joined = _joined(_unrolled(clean, problems), rules, problems) if rules.merges else clean
    return [replace(cue, text=" ".join(cue.text.split())) for cue in _of_length(joined, rules, problems)]


def cleaned(text: str, rules: Rules) -> str:
    """Returns the lines of a caption without tags and entities, and without sounds and speakers if the rules say so."""
    plain = html.unescape(_TAG.sub("", _BREAK.sub("\n", text)))
    return "\n".join(filter(None, (_cleaned_line(" ".join(line.split()), rules) for line in plain.split("\n"))))


def _cleaned_line(line: str, rules: Rules) -> str:
    if rules.drop_sounds:
        line = " ".join(_SOUND.sub(" ", line).split())
    if rules.drop_speakers:
        said = _TURN.sub("", line)
        name, colon, rest = said.partition(":")
        is_name = name.isupper() or (said != line and name.istitle())
        is_speaker = colon and is_name and len(name.split()) <= MAX_NAME and not rest[:1].isdigit()
        line = rest.strip() if is_speaker else said
    return line


def _shifted(cues: Iterable[Cue], shift: float, problems: Problems) -> Iterator[Cue]:
    for cue in cues:
        start, end = (round(time + shift, 6) for time in (cue.start, cue.end))
        if end > 0:
            yield replace(cue, start=max(start, 0.0), end=end)
        else:
            add_issue(problems, BEFORE_BEGINNING, cue.place)


def _with_words(cues: Iterable[Cue], problems: Problems) -> Iterator[Cue]:
    for cue in cues:
        if any(character.isalnum() for character in cue.text):
            yield cue
        else:
            add_issue(problems, NO_WORDS, cue.place)


def _unrolled(cues: Iterable[Cue], problems: Problems) -> Iterator[Cue]:
    """Yields the cues without the lines that the one before has shown already; one that shows nothing new makes that
    one longer."""
    shown: Cue | None = None
    current: Cue | None = None
    for cue in cues:
        new = cue.text if shown is None else _new_text(shown, cue)
        if new != cue.text:
            add_issue(problems, REPEATED, cue.place)
        shown = cue
        if new or current is None:
            if current is not None:
                yield current
            current = replace(cue, text=new)
        else:
            current = replace(current, end=max(current.end, cue.end))
    if current is not None:
        yield current


def _new_text(shown: Cue, cue: Cue) -> str:
    """Returns what a caption adds to the one before: the lines after those that it repeats, or the words by which the
    whole caption has grown. After a pause only lines of several words above a new line count as repeated."""
    old, lines = shown.text.split("\n"), cue.text.split("\n")
    pause = cue.start - shown.end
    for many in range(min(len(old), len(lines)), 0, -1):
        repeated = old[-many:] == lines[:many]
        is_rolled = pause <= LONGEST_ROLL and many < len(lines) and len(" ".join(lines[:many]).split()) > 1
        if repeated and (pause <= TOUCHING or is_rolled):
            return "\n".join(lines[many:])
    old_words, words = shown.text.split(), cue.text.split()
    has_grown = pause <= TOUCHING and words[: len(old_words)] == old_words
    return " ".join(words[len(old_words) :]) if has_grown else cue.text


def _joined(cues: Iterable[Cue], rules: Rules, problems: Problems) -> Iterator[Cue]:
    """Yields sentences: a cue that ends no sentence is joined with the next one, and so are cues that overlap, as long
    as the whole is short enough; else the earlier one ends where the later one begins."""
    current: Cue | None = None
    for cue in cues:
        if current is None:
            current = cue
            continue
        overlaps = current.end - cue.start > TOUCHING
        unfinished = cue.start - current.end <= rules.max_gap and not _ends_sentence(current.text, cue.text)
        if (overlaps or unfinished) and max(cue.end, current.end) - current.start <= rules.join_up_to:
            add_issue(problems, OVERLAPPING, cue.place if overlaps else [])
            current = replace(current, end=max(cue.end, current.end), text=f"{current.text}\n{cue.text}")
        else:
            yield current if current.start >= cue.start else replace(current, end=min(current.end, cue.start))
            current = cue
    if current is not None:
        yield current


def _ends_sentence(text: str, following: str) -> bool:
    """Returns whether a caption ends a sentence; `...` ends none if the next caption continues in lower case."""
    final = _FINAL.search(text)
    if final is None or not text.endswith(_ELLIPSES):
        return final is not None
    return not following.lstrip("…. ")[:1].islower()


def _of_length(cues: Iterable[Cue], rules: Rules, problems: Problems) -> Iterator[Cue]:
    for cue in cues:
        seconds = round(cue.end - cue.start, 6)
        if seconds < rules.min_seconds:
            add_issue(problems, TOO_SHORT, f"{cue.place}: {seconds:g} s")
        elif seconds > rules.max_seconds:
            add_issue(problems, TOO_LONG, f"{cue.place}: {seconds:g} s")
        else:
            yield cue
