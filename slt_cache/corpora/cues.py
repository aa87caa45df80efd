"""Subtitle files, WebVTT (.vtt), SubRip (.srt) and ELAN (.eaf), in; cues with times and unchanged text out. A cue that
cannot be read is listed with its line, and takes no other with it.

Read here rather than by a library: those that were tried lose cues in silence, and take the word times within YouTube's
captions for cues."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from slt_cache.corpora.annotation_table import seconds, span
from slt_cache.corpora.base import Problems
from slt_cache.corpora.official import add_issue, unreadable
from slt_cache.corpora.own_table import read_text
from slt_cache.errors import InputError

SUFFIXES = (".eaf", ".vtt", ".srt")
"""Suffixes of subtitle files, in order of preference."""
UNREADABLE_CUE = "caption that cannot be read (left out)"
NO_TIER = "no such tier in the file"
MAX_BYTES = 1 << 26
"""Most bytes of a subtitle file; one of a whole day has some millions."""
MAX_REFERENCES = 20
"""Most steps from an annotation in ELAN to the one with times that it refers to; a tier has few parents."""
ARROW = "-->"
_BLOCKS = (["WEBVTT"], ["NOTE"], ["STYLE"], ["REGION"])
"""First words of the blocks of WebVTT that are no cues."""


class ChooseTier(InputError):
    """Error for an ELAN file with several tiers, of which the user must choose one."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption as the file has it."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    text: str
    """Lines, with tags and entities."""
    place: str
    """File and line, or file and annotation."""
    signer: str = ""


def read_cues(path: Path, tier: str | None, problems: Problems) -> list[Cue]:
    """Returns the cues in order of time. `tier` is the name of an ELAN tier, or a pattern such as `Text*`; None for the
    only one that has annotations. Raises InputError if the file cannot be read, or if a tier must be chosen."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: more than {MAX_BYTES:,} bytes; no subtitle file is that large.")
    except OSError as error:
        raise unreadable(error) from error
    cues = _of_eaf(path, tier, problems) if path.suffix.lower() == ".eaf" else list(_of_text(path, problems))
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def _of_text(path: Path, problems: Problems) -> Iterator[Cue]:
    """Yields the cues of WebVTT or SubRip: a line with two times, then lines of text up to an empty line."""
    lines = read_text(path).split("\n")
    number = 0
    while number < len(lines):
        place, has_times = f"{path.name} line {number + 1}", ARROW in lines[number]
        text = _block(lines, number + has_times)
        try:
            if has_times:
                yield Cue(*_times(lines[number]), "\n".join(text), place)
            elif _is_stray(text, lines[number + len(text) : number + len(text) + 1]):
                raise ValueError(f"no line of times above {text[0][:80]!r}")
        except ValueError as error:
            add_issue(problems, UNREADABLE_CUE, f"{place}: {error}")
        number += max(len(text) + has_times, 1)


def _times(line: str) -> tuple[float, float]:
    start, _, rest = line.partition(ARROW)
    return span(start.strip(), (rest.split(maxsplit=1) or [""])[0])  # WebVTT may place the caption behind the times


def _block(lines: list[str], first: int) -> list[str]:
    """Returns the lines up to an empty one. A line of spaces belongs to them, as in YouTube's captions; a line of times
    does not, nor the number above it, for files in which the empty line is missing."""
    last = first
    while last < len(lines) and lines[last] and ARROW not in lines[last]:
        last += 1
    ends_at_times = last < len(lines) and ARROW in lines[last]
    return lines[first : last - (ends_at_times and last > first and lines[last - 1].strip().isdecimal())]


def _is_stray(block: list[str], following: list[str]) -> bool:
    """Returns whether lines without times hold text: neither the header, a comment or a style of WebVTT, nor the name
    of a cue."""
    if not "".join(block).strip() or block[0].split(maxsplit=1)[:1] in _BLOCKS:
        return False
    is_name = len(block) == 1 and (block[0].strip().isdecimal() or (bool(following) and ARROW in following[0]))
    return not is_name


def _of_eaf(path: Path, tier: str | None, problems: Problems) -> list[Cue]:
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise unreadable(error) from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # including an unknown encoding
        raise InputError(f"{path}: not a whole ELAN file ({error}). Save it again with ELAN.") from error
    tiers = {one.get("TIER_ID", ""): one for one in root.iter("TIER")}
    chosen = _chosen(path, tiers, tier, problems)
    times = _Times(root, path.stem)
    cues: list[Cue] = []
    for name in chosen:
        for annotation in tiers[name].iterfind("ANNOTATION/*"):
            place = f"{path.name} annotation {annotation.get('ANNOTATION_ID')} of {name}"
            text, signer = annotation.findtext("ANNOTATION_VALUE") or "", tiers[name].get("PARTICIPANT", "")
            try:
                cues.append(Cue(*times.of(annotation.get("ANNOTATION_ID")), text, place, signer))
            except ValueError as error:
                add_issue(problems, UNREADABLE_CUE, f"{place}: {error}")
    return cues


def _chosen(path: Path, tiers: dict[str, ElementTree.Element], tier: str | None, problems: Problems) -> list[str]:
    """Returns the names of the tiers to read."""
    filled = [name for name, one in tiers.items() if one.find("ANNOTATION") is not None]
    if tier is None:
        if len(filled) > 1:
            raise ChooseTier(f"{path}: has the tiers {', '.join(filled)}. Choose one with --tier NAME.")
        return filled
    found = [tier] if tier in tiers else [name for name in tiers if fnmatchcase(name, tier)]
    if not found:
        add_issue(problems, NO_TIER, f"{path.name}: {tier}; it has {', '.join(tiers) or 'none'}")
    return found


class _Times:
    """Times of the annotations of an ELAN file, those of another one for annotations that refer to it."""

    def __init__(self, root: ElementTree.Element, video: str) -> None:
        self.slots = {one.get("TIME_SLOT_ID"): one.get("TIME_VALUE") for one in root.iter("TIME_SLOT")}
        self.aligned = {one.get("ANNOTATION_ID"): one for one in root.iter("ALIGNABLE_ANNOTATION")}
        self.parents = {one.get("ANNOTATION_ID"): one.get("ANNOTATION_REF") for one in root.iter("REF_ANNOTATION")}
        self.origin = _origin(root, video)

    def of(self, annotation: str | None) -> tuple[float, float]:
        """Returns beginning and end in seconds. Raises ValueError if there are none."""
        for _ in range(MAX_REFERENCES):
            annotation = self.parents.get(annotation, annotation)
        times = self.aligned.get(annotation)
        start, end = (None if times is None else self.slots.get(times.get(f"TIME_SLOT_REF{side}")) for side in (1, 2))
        if start is None or end is None:
            raise ValueError("it has no times")
        first, last = span(start, end)
        return round(first / 1000 + self.origin, 6), round(last / 1000 + self.origin, 6)


def _origin(root: ElementTree.Element, video: str) -> float:
    """Returns the second of the video at which the annotation begins, of the first video if several are annotated and
    none has this name."""
    media = [one for one in root.iter("MEDIA_DESCRIPTOR") if one.get("TIME_ORIGIN")]
    own = [one for one in media if video in (one.get("MEDIA_URL") or one.get("RELATIVE_MEDIA_URL") or "")]
    try:
        return seconds((own or media)[0].get("TIME_ORIGIN", "")) / 1000 if media else 0.0
    except ValueError:
        return 0.0
