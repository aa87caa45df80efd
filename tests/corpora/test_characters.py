"""The same letters count as the same, in training and in scoring, however they are stored."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from slt_cache.corpora.characters import (
    DAMAGED,
    LOOK_ALIKE,
    NOT_COMPOSED,
    ODD_SPACE,
    UNSEEN,
    doubts,
    existing,
    normalized,
)
from slt_cache.metrics.presets import PRESETS
from slt_cache.metrics.scores import compare, score
from slt_cache.text.tokenizer import Tokenizer, as_llm_reads_it

SENTENCE = "am sonntag wird es im süden schön und größtenteils trocken , später ziehen äußerst kräftige böen auf"


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def other_spaces(text: str) -> str:
    return text.replace(" ", "\u00a0", 3).replace(" ", "\u202f", 1)


WRITTEN: dict[str, Callable[[str], str]] = {
    "NFD": nfd,
    "no-break spaces": other_spaces,
    "byte order mark": lambda text: "\ufeff" + text,
    "zero-width spaces": lambda text: text.replace("ü", "ü\u200b"),
    "soft hyphens": lambda text: text.replace("größten", "größten\u00ad"),
    "word joiner and direction marks": lambda text: "\u200e" + text.replace(" ,", "\u2060 ,"),
    "joiners after Latin letters": lambda text: text.replace("ß", "ß\u200b\u200c").replace("e", "e\u200d", 1),
    "Arabic and Mongolian marks": lambda text: "\u061c" + text.replace(" ,", "\u180e ,\u206f"),
    "accents over invisible characters": lambda text: nfd(text).replace("\u0308", "\u200b\u0308"),
}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", WRITTEN)
def test_the_same_sentence_scores_100_however_its_characters_are_stored(kind: str, preset: str) -> None:
    other = WRITTEN[kind](SENTENCE)
    assert other != SENTENCE
    for hypothesis, reference in ((SENTENCE, other), (other, SENTENCE)):
        found = score([hypothesis], [reference], preset)
        assert {key: round(one.value, 6) for key, one in found.items()} == dict.fromkeys(found, 100.0)


@pytest.mark.parametrize("kind", WRITTEN)
def test_the_llm_reads_the_same_sentence(kind: str, tokenizer: Tokenizer) -> None:
    assert as_llm_reads_it(WRITTEN[kind](SENTENCE)) == SENTENCE
    assert tokenizer.encode(WRITTEN[kind](SENTENCE)) == tokenizer.encode(SENTENCE)


def test_every_signature_names_the_normalization() -> None:
    for found in score([SENTENCE], [SENTENCE], "phoenix14t", bootstrap=40).values():
        assert "|norm:nfc+no-invisible" in found.signature


def test_outputs_are_compared_after_the_same_normalization() -> None:
    same = compare([nfd(SENTENCE)] * 3, [SENTENCE] * 3, [SENTENCE] * 3, "phoenix14t", resamples=40)
    assert all((round(one.value, 6), round(one.other, 6), one.p) == (100.0, 100.0, 1.0) for one in same.values())


@pytest.mark.parametrize(
    "text", ["今天，下雪。ＡＢＣ １２３", "ﬁnden", "Straße ½ … – „ja“", "می‌خواهم", "क्‍ष", "ก็ 가나다", "a\u3000b"]
)
def test_what_is_seen_stays_as_it_is(text: str) -> None:
    assert normalized(text) == text


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("schön", []),
        ("今天，下雪。\u3000", []),
        (nfd("schön"), [NOT_COMPOSED]),
        ("scho\u00adn", [UNSEEN]),
        ("\ufeffschon", [UNSEEN]),
        ("hal\u200clo", [UNSEEN]),
        ("می\u200cخواهم", []),
        ("sch\ufffdn", [DAMAGED]),
        ("schon\0", [DAMAGED]),
        ("10\u00a0Grad", [ODD_SPACE]),
        ("ﬁnden", [LOOK_ALIKE]),
        ("\u200b10\u2009Ｇrad", [UNSEEN, ODD_SPACE, LOOK_ALIKE]),
    ],
)
def test_what_a_reader_would_not_notice_is_named(text: str, kinds: list[str]) -> None:
    assert doubts(text) == kinds


@pytest.mark.parametrize("here", ["NFC", "NFD"])
def test_a_path_is_found_in_whatever_form_its_folders_and_files_are_stored(
    tmp_path: Path, here: Literal["NFC", "NFD"]
) -> None:
    folder = tmp_path / unicodedata.normalize(here, "größe")
    folder.mkdir()
    (folder / nfd("ä.mp4")).touch()
    (folder / "ö.mp4").touch()
    for form in ("NFC", "NFD"):
        for name in ("ä.mp4", "ö.mp4"):
            asked = tmp_path / unicodedata.normalize(form, "größe") / unicodedata.normalize(form, name)
            assert existing(asked).is_file()
    absent = tmp_path / "größe" / "ü.mp4"
    assert existing(absent) == absent
