"""Characters that look alike but differ: the one form of a sentence for training and scoring, and what to warn about.
Changes no file: manifests and tables of references stay as they were written."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

INVISIBLE = "\u00ad\u061c\u180e\u200b\u200e\u200f\u2060\ufeff" + "".join(
    map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x2070)))
)
"""Soft hyphen, zero-width space, word joiner, byte order mark, and marks of the writing direction. The joiners U+200C
and U+200D are among them only after Latin, Greek and Cyrillic letters: Persian and Indic scripts spell words with them.
"""
NORMALIZATION = "nfc+no-invisible"
"""Name of what `normalized` does, for signatures."""

NOT_COMPOSED = "separate letters and accents (NFD; read as NFC)"
UNSEEN = "invisible characters (left out in training and scoring)"
ODD_SPACE = "no-break or other special spaces (read as spaces)"
DAMAGED = "control or replacement characters (wrongly decoded text)"
LOOK_ALIKE = "ligatures, full-width or mathematical letters (not the plain letters)"

_UNSEEN = re.compile(rf"(?<=[0-9A-Za-z\u00aa-\u058f])[{INVISIBLE}\u200c\u200d]+|[{INVISIBLE}]+")
_DAMAGED = re.compile("[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufffd]")
_COMPATIBLE = ((0xFB00, 0xFB06), (0xFF10, 0xFF19), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A), (0x1D400, 0x1D7FF))


def nfc(text: str) -> str:
    """Returns the composed form. File names from a Mac, and texts typed there, may hold letters and accents
    separately."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def normalized(text: str) -> str:
    """Returns the sentence that the LLM and the scorer see: composed (NFC) and without invisible characters. Case,
    punctuation and full-width forms stay."""
    return text if text.isascii() else nfc(_UNSEEN.sub("", text))


def doubts(text: str) -> list[str]:
    """Returns the kinds of characters in a sentence that a reader would not notice."""
    if text.isascii() and text.isprintable():
        return []
    found = {
        NOT_COMPOSED: not unicodedata.is_normalized("NFC", text),
        UNSEEN: _UNSEEN.search(text) is not None,
        ODD_SPACE: any(one.isspace() and not one.isascii() and one != "\u3000" for one in text),
        DAMAGED: _DAMAGED.search(text) is not None,
        LOOK_ALIKE: any(low <= ord(character) <= high for character in text for low, high in _COMPATIBLE),
    }
    return [kind for kind, is_so in found.items() if is_so]


def doubtful(numbered: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Returns kind of character -> places of the sentences that contain it; `numbered` are places and sentences."""
    found: dict[str, list[str]] = {}
    for place, text in numbered:
        for kind in doubts(text):
            found.setdefault(kind, []).append(place)
    return found


def is_there(path: Path) -> bool:
    """Returns whether a file or folder exists; False for a name that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def those_there(paths: Iterable[Path]) -> set[Path]:
    """Returns the paths that exist. Each is looked up once: clips share videos."""
    return {path for path in set(paths) if is_there(path)}


def existing(path: Path) -> Path:
    """Returns the path in the form that it has on disk: file systems differ in whether they compose letters and
    accents, and copies between them keep either form. A path that exists in no form is returned as it is."""
    text = str(path)
    if text.isascii() or is_there(path):
        return path
    for form in ("NFC", "NFD"):
        other = Path(unicodedata.normalize(form, text))
        if is_there(other):
            return other
    return _part_by_part(path)


def _part_by_part(path: Path) -> Path:
    """Resolves each part on its own, since folders and files of one path may differ in their form."""
    found = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        step = found / part
        if not is_there(step):
            try:
                same = (entry for entry in found.iterdir() if nfc(entry.name) == nfc(part))
                step = next(same, step)
            except OSError:
                return path
        found = step
    return found if is_there(found) else path
