"""Cues become sentences by the rules of data/README.md."""

from pathlib import Path

import pytest

from slt_cache.config import CorpusConfig
from slt_cache.corpora.base import Problems
from slt_cache.corpora.captions import (
    BEFORE_BEGINNING,
    NO_WORDS,
    OVERLAPPING,
    REPEATED,
    TOO_LONG,
    TOO_SHORT,
    Rules,
    cleaned,
    sentences_of,
)
from slt_cache.corpora.cues import Cue, read_cues
from tests.helpers.subtitles import ROLLING

Short = tuple[float, float, str]


def sentences(cues: list[Short], **settings: object) -> tuple[list[Short], Problems]:
    problems: Problems = {}
    rules = Rules.of(CorpusConfig.model_validate(settings))
    found = sentences_of([Cue(start, end, text, f"{start:g}") for start, end, text in cues], rules, problems)
    return [(cue.start, cue.end, cue.text) for cue in found], problems


def test_a_sentence_over_several_captions_is_joined_up_to_its_final_punctuation() -> None:
    cues = [(0.0, 1.0, "I was born"), (1.1, 2.0, "in the north."), (2.0, 3.0, 'He said "no!"'), (3.0, 4.0, "Why")]
    assert sentences(cues)[0] == [
        (0.0, 2.0, "I was born in the north."),
        (2.0, 3.0, 'He said "no!"'),
        (3.0, 4.0, "Why"),
    ]
    assert sentences(cues, join_up_to=0)[0] == cues


def test_three_dots_end_a_sentence_unless_it_continues() -> None:
    cues = [
        (0.0, 1.0, "I was going..."),
        (1.0, 2.0, "...to the shop."),
        (2.0, 3.0, "Well…"),
        (3.0, 4.0, "Then it rained."),
    ]
    assert [text for *_, text in sentences(cues)[0]] == ["I was going... ...to the shop.", "Well…", "Then it rained."]


def test_a_gap_or_the_greatest_length_ends_a_sentence() -> None:
    cues = [(0.0, 1.0, "one"), (2.5, 3.0, "two"), (3.5, 9.0, "three"), (9.0, 13.0, "four")]
    assert [text for *_, text in sentences(cues)[0]] == ["one", "two three four"]
    assert [text for *_, text in sentences(cues, max_gap=2)[0]] == ["one two three four"]
    assert [text for *_, text in sentences(cues, join_up_to=8)[0]] == ["one", "two three", "four"]


def test_rolling_captions_of_youtube_give_each_word_once(tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text(ROLLING, encoding="utf-8")
    problems: Problems = {}
    found = sentences_of(read_cues(tmp_path / "a.vtt", None, problems), Rules.of(CorpusConfig()), problems)
    assert [(cue.start, cue.end, cue.text) for cue in found] == [
        (0.16, 6.0, "hello everyone and welcome back"),
        (9.0, 11.0, "today we sign"),
    ]
    assert len(problems.pop(REPEATED)) == 4
    assert problems == {}


def test_a_caption_that_grows_word_by_word_is_one() -> None:
    cues = [(0.0, 1.0, "we"), (1.0, 2.0, "we go"), (2.0, 3.0, "we go home."), (3.0, 4.0, "We sleep.")]
    assert sentences(cues)[0] == [(0.0, 3.0, "we go home."), (3.0, 4.0, "We sleep.")]


def test_a_line_that_stays_over_a_pause_is_not_repeated() -> None:
    cues = [
        (0.0, 1.0, "we go home"),
        (4.0, 5.0, "we go home\nand sleep"),
        (8.0, 9.0, "No."),
        (9.5, 10.0, "No.\nNever."),
    ]
    assert [text for *_, text in sentences(cues)[0]] == ["we go home", "and sleep", "No.", "No. Never."]


def test_what_is_said_twice_after_a_pause_stays() -> None:
    assert sentences([(0.0, 1.0, "No."), (1.5, 2.0, "No.")])[0] == [(0.0, 1.0, "No."), (1.5, 2.0, "No.")]


def test_captions_that_overlap_are_merged_and_counted_but_not_their_rounding() -> None:
    cues = [(0.0, 2.0, "Yes."), (1.0, 3.0, "No."), (2.95, 4.0, "Good.")]
    found, problems = sentences(cues)
    assert found == [(0.0, 2.95, "Yes. No."), (2.95, 4.0, "Good.")]
    assert problems == {OVERLAPPING: ["1"]}
    assert sentences(cues, join_up_to=2.5)[0] == [(0.0, 1.0, "Yes."), (1.0, 2.95, "No."), (2.95, 4.0, "Good.")]


def test_times_are_shifted_and_what_lies_before_the_video_is_left_out() -> None:
    found, problems = sentences([(0.0, 1.0, "Gone."), (1.5, 3.0, "Cut."), (4.0, 5.1, "Kept.")], shift=-2.0)
    assert found == [(0.0, 1.0, "Cut."), (2.0, 3.1, "Kept.")]
    assert problems == {BEFORE_BEGINNING: ["0"]}


def test_clips_that_are_too_short_or_too_long_are_left_out_and_counted() -> None:
    found, problems = sentences([(0.0, 0.1, "Oh."), (1.0, 62.0, "Long."), (70.0, 71.0, "Good.")])
    assert found == [(70.0, 71.0, "Good.")]
    assert problems == {TOO_SHORT: ["0: 0.1 s"], TOO_LONG: ["1: 61 s"]}
    assert len(sentences([(0.0, 0.1, "Oh."), (1.0, 62.0, "Long.")], min_seconds=0, max_seconds=99)[0]) == 2


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('<v Bob>Hi</v> <c.yellow>you</c> <font color="red">there</font>{\\an8}', "Hi you there"),
        ("a &lt; b &amp;&nbsp;c &#39;d&#39;", "a < b & c 'd'"),
        ("3 < 4 and 5 > 2", "3 < 4 and 5 > 2"),
        ("one<br/>two\\Nthree", "one\ntwo\nthree"),
        ("[Music] Hello [laughs]", "Hello"),
        ("(applause)", ""),
        ("He (my son) signs", "He (my son) signs"),
        ("♪ la la ♪", ""),
        (">> BOB: Hello", "Hello"),
        (">> Hello", "Hello"),
        ("- Yes.\n- No.", "Yes.\nNo."),
        ("DR. SMITH: Good", "Good"),
        (">> Anna: Hallo", "Hallo"),
        ("- Anna Maria: Hallo", "Hallo"),
        ("Note: it is 10:30", "Note: it is 10:30"),
        ("AT 10:30 we go", "AT 10:30 we go"),
    ],
)
def test_tags_entities_sounds_and_speakers_are_removed(text: str, clean: str) -> None:
    assert cleaned(text, Rules.of(CorpusConfig())) == clean


def test_sounds_and_speakers_stay_if_the_settings_say_so() -> None:
    found, problems = sentences([(0.0, 1.0, "[Music]"), (2.0, 3.0, "BOB: Hi.")], drop_sounds=False, drop_speakers=False)
    assert [text for *_, text in found] == ["[Music] BOB: Hi."]
    assert sentences([(0.0, 1.0, "[Music]"), (2.0, 3.0, "BOB: Hi.")])[1] == {NO_WORDS: ["0"]}
    assert problems == {}
