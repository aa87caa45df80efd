"""Sentences that several splits share are found, equal or nearly equal."""

from pathlib import Path

from slt_cache.corpora.base import Clip
from slt_cache.corpora.same_sentences import NEARLY_SAME, SAME, shared_sentences


def clips(**sentences: str) -> list[Clip]:
    """Clips by `SPLIT_NUMBER`."""
    return [Clip(name, name.split("_")[0], Path("v"), None, None, text) for name, text in sentences.items()]


def test_equal_sentences_of_different_splits_are_listed_once_for_each_split() -> None:
    found = shared_sentences(
        clips(train_1="Good morning.", train_2="Good morning.", dev_1="Good  morning.", test_1="Good morning.")
    )
    assert found == {
        SAME: [
            "dev_1 (dev) and train_1 (train): Good morning.",
            "test_1 (test) and train_1 (train): Good morning.",
        ]
    }
    assert shared_sentences(clips(train_1="a", train_2="a", dev_1="b", test_1="c")) == {}


def test_case_punctuation_and_one_word_make_no_new_sentence() -> None:
    found = shared_sentences(
        clips(
            train_1="In the north it rains all day",
            train_2="we sell shoes",
            dev_1="in the north, it RAINS all day!",  # the same
            dev_2="In the north it snows all day.",  # a word replaced
            dev_3="In the far north it rains all day",  # a word more
            dev_4="In the north it rains today",  # two words differ
            dev_5="we sell hats",  # too short to leave a word out
            test_1="the north it rains all day",  # a word less
            test_2="all In the north it rains",  # moved
        )
    )
    assert [entry.split(" ")[0] for entry in found[NEARLY_SAME]] == ["dev_1", "dev_2", "dev_3", "test_1"]
    assert list(found) == [NEARLY_SAME]


def test_characters_are_the_words_of_chinese() -> None:
    found = shared_sentences(
        clips(train_1="今天下雪，很冷。", dev_1="今天下雪很冷", dev_2="昨天下雪，很冷。", dev_3="我有")
    )
    assert [entry.split(" ")[0] for entry in found[NEARLY_SAME]] == ["dev_1", "dev_2"]
