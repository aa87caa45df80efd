"""Sentences that train shares with dev or test, which inflate scores: equal ones, and nearly equal ones. Looks at texts
alone."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from slt_cache.corpora.base import SPLITS, Clip, Problems
from slt_cache.corpora.characters import normalized
from slt_cache.corpora.official import add_issue

SAME = "sentence of several splits"
NEARLY_SAME = "sentence of several splits, but for case, punctuation or one word"
FEWEST_WORDS = 5
"""Fewest words of a sentence that is compared with one of its words left out or replaced."""
WIDE = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])")
"""Characters of scripts without spaces between words."""


class _Plain(dict[int, str]):
    """Code of a character -> the character, or a space for punctuation; a character is looked up once."""

    def __missing__(self, code: int) -> str:
        self[code] = chr(code) if unicodedata.category(chr(code))[0] in "LNM" else " "
        return self[code]


_PLAIN = _Plain()


def shared_sentences(clips: Sequence[Clip]) -> Problems:
    """Returns each sentence of dev and test that an earlier split has too, with the clips; clips with the same sentence
    count once for a split. The order of the splits is train, dev, test."""
    problems: Problems = {}
    exact: dict[str, dict[str, str]] = {split: {} for split in SPLITS}
    for clip in clips:
        text = " ".join(normalized(clip.text).split())
        exact[clip.split].setdefault(clip.text if text == clip.text else text, clip.id)  # one string for both
    for later in SPLITS[1:]:
        earlier = SPLITS[: SPLITS.index(later)]
        found = {text: split for split in reversed(earlier) for text in exact[later] if text in exact[split]}
        for text, split in found.items():
            add_issue(problems, SAME, f"{exact[later][text]} ({later}) and {exact[split][text]} ({split}): {text}")
        others = {text: clip_id for text, clip_id in exact[later].items() if text not in found}
        add_issue(problems, NEARLY_SAME, _near(others, later, {split: exact[split] for split in earlier}))
    return problems


def _near(texts: dict[str, str], later: str, earlier: dict[str, dict[str, str]]) -> list[str]:
    """Returns each of the texts with the first nearly equal one of an earlier split. Only the texts are indexed, since
    train may be large."""
    of_key: dict[int, list[str]] = {}
    for text in texts:
        for key in _keys(text, "same", "longer"):
            of_key.setdefault(key, []).append(text)
    first: dict[str, str] = {}
    for split, others in earlier.items() if of_key else ():
        for other, clip_id in others.items():
            for key in _keys(other, "longer", "same"):
                for text in of_key.get(key, []):
                    first.setdefault(text, f"{clip_id} ({split}): {text} | {other}")
    return [f"{texts[text]} ({later}) and {first[text]}" for text in texts if text in first]


def _keys(text: str, whole: str, one_less: str) -> Iterator[int]:
    """Yields hashes, of which two sentences share one if they differ in one word at most: the words, those without one
    of them, and the latter with its place. `whole` and `one_less` are labels: whole sentences are compared with each
    other and with those that lack a word, but the latter with each other only in the same place."""
    words = _words(text)
    if words:
        yield hash(("same", *words))
        yield hash((whole, *words))
    for place in range(len(words) if len(words) >= FEWEST_WORDS else 0):
        rest = (*words[:place], *words[place + 1 :])
        yield hash((one_less, *rest))
        yield hash((place, *rest))


def _words(text: str) -> list[str]:
    """Returns the words without case and punctuation; each character is a word in scripts without spaces."""
    folded = text.casefold()
    spaced = folded if folded.isascii() else WIDE.sub(r" \1 ", folded)
    return spaced.translate(_PLAIN).split()
