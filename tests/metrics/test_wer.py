"""Word error rates of content words, numbers and names, and which words these are."""

import pytest

from slt_cache.metrics.base import Score
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.numbers_and_names import is_name, is_number
from slt_cache.metrics.scores import compare, score
from slt_cache.metrics.wer import RULES, edits, words_counted, words_of
from tests.helpers.real_sentences import real_pairs

KEYS = [*RULES]


def rates(hypotheses: list[str], references: list[str], preset: str, *languages: str) -> dict[str, Score]:
    return score(hypotheses, references, preset, TextChoices(languages=languages), metrics=KEYS)


def test_each_kind_of_words_is_counted_apart() -> None:
    references = ["am montag zwölf grad in berlin und minus drei grad an den alpen"]
    hypotheses = ["am montag elf grad in berlin und drei grad"]
    found = rates(hypotheses, references, "phoenix14t")
    assert found["wer_numbers"].value == pytest.approx(100 * 2 / 3)  # zwölf is wrong, minus is missing
    assert found["wer_names"].value == pytest.approx(100 / 2)  # the alps are missing
    assert found["wer_content"].value == pytest.approx(100 * 3 / 8)
    assert found["wer_content"].signature == ("errors-per-word|norm:nfc+no-invisible|words:content|lang:de")


def test_function_words_and_punctuation_change_nothing() -> None:
    found = rates(["der regen , und im süden ."], ["ein regen süden"], "phoenix14t")
    assert found["wer_content"].value == 0.0
    assert (
        rates(["der regen"], ["ein regen"], "plain")["wer_content"].value == 50.0
    )  # in an unknown language they count


def test_a_rate_is_over_the_words_of_the_whole_corpus_and_may_exceed_100() -> None:
    found = rates(["eins zwei drei vier", ""], ["eins", "zwei drei vier"], "phoenix14t")
    assert found["wer_numbers"].value == pytest.approx(100 * 6 / 4)


def test_sentences_without_such_words_have_no_errors_unless_the_hypothesis_invents_some() -> None:
    assert rates(["regen"], ["schnee"], "phoenix14t")["wer_numbers"].value == 0.0
    assert rates(["zehn regen"], ["schnee"], "phoenix14t")["wer_numbers"].value == 100.0


@pytest.mark.parametrize(
    ("language", "numbers", "others"),
    [
        (
            "de",
            "null eins zwölf fünfundzwanzig einundzwanzigsten dritte ersten dreißig minus 25 3,5 -5 zweitausend",
            "ein eine einen und erst einzig einzige achtung seine regen norden",
        ),
        ("en", "one twelve twenty-five third fifth seventies 25th minus", "someone and ones tent seconds rain"),
        ("zh", "五 二十五 25 零 两百", "一起 一定 天 十分"),
        ("fr", "25", "cinq"),
    ],
)
def test_numbers_are_digits_and_the_numerals_of_the_language(language: str, numbers: str, others: str) -> None:
    assert [word for word in numbers.split() if not is_number(word, (language,))] == []
    assert [word for word in others.split() if is_number(word, (language,))] == []


def test_names_have_a_capital_inside_a_sentence_or_are_listed_places() -> None:
    assert is_name("Berlin", ("en",), begins=False) and not is_name("The", ("en",), begins=True)
    assert not is_name("I'm", ("en",), begins=False)
    assert not is_name("Regen", ("de",), begins=False)
    assert all(is_name(word, ("de",), begins=False) for word in ["alpen", "Bayerns", "süddeutschlands", "Nordsee"])
    assert is_name("北京", ("zh",), begins=False) and not is_name("天气", ("zh",), begins=False)
    assert is_name("Regen", ("fr", "en"), begins=False)


def test_a_capital_after_the_end_of_a_sentence_is_no_name() -> None:
    assert list(words_of("It rains. Then Tom left", joined=False)) == [
        ("It", True),
        ("rains", False),
        ("Then", True),
        ("Tom", False),
        ("left", False),
    ]


def test_chinese_characters_with_blanks_between_them_are_the_same_words() -> None:
    found = [word for word, _ in words_of("她 今 年 5 0 岁 , 在 北 京 。", joined=True)]
    assert found == ["她", "今", "年", "50", "岁", "在", "北京"]
    spaced = rates(["他 今 年 四 十 岁 。"], ["他今年五十岁。"], "csl-daily")
    assert spaced["wer_numbers"].value == 100.0
    assert "lang:zh" in spaced["wer_numbers"].signature


def test_words_of_several_languages_are_content_if_they_are_in_all_of_them() -> None:
    found = rates(["the regen und snow"], ["regen snow"], "mixed", "de_DE", "en_XX")
    assert found["wer_content"].value == 0.0 and "|lang:de+en" in found["wer_content"].signature


def test_edits_are_the_fewest_insertions_deletions_and_substitutions() -> None:
    assert edits(["k", "i", "t", "t", "e", "n"], ["s", "i", "t", "t", "i", "n", "g"]) == 3
    assert edits([], ["a", "b"]) == edits(["a", "b"], []) == 2
    assert edits(["a", "b", "c"], ["b", "c"]) == 1


def test_rates_are_those_of_jiwer_on_the_same_words_of_real_sentences() -> None:
    jiwer = pytest.importorskip("jiwer", reason="jiwer is not installed")
    hypotheses, references = (texts[:100] for texts in real_pairs())
    found = rates(hypotheses, references, "phoenix14t")
    for key, kind in (("wer_numbers", is_number), ("wer_names", lambda word, codes: is_name(word, codes, False))):
        kept = [
            [" ".join(word for word in text.split() if kind(word, ("de",))) for text in texts]
            for texts in (references, hypotheses)
        ]
        both = [(reference, hypothesis) for reference, hypothesis in zip(*kept, strict=True) if reference]
        alone = sum(len(hypothesis.split()) for reference, hypothesis in zip(*kept, strict=True) if not reference)
        expected = jiwer.process_words([one for one, _ in both], [other for _, other in both])
        errors = expected.substitutions + expected.deletions + expected.insertions + alone
        words = sum(len(reference.split()) for reference in kept[0])
        assert found[key].value == pytest.approx(100 * errors / words)


def test_an_interval_lies_around_the_rate_and_a_paired_test_knows_the_better_side() -> None:
    references = ["zwölf grad in berlin", "regen am montag bei drei grad"] * 15
    worse = ["elf grad in wien", "regen am dienstag bei drei grad"] * 15
    found = score(worse, references, "phoenix14t", bootstrap=100, metrics=KEYS)
    for key in KEYS:
        low, high = found[key].interval or (1.0, 0.0)
        assert 0 <= low <= found[key].value <= high and "|bs:100|seed:12345" in found[key].signature
        [tested] = compare(references, worse, references, "phoenix14t", resamples=100, metrics=[key]).values()
        assert tested.is_better and tested.p < 0.05 and tested.other == pytest.approx(found[key].value)


def test_the_rule_and_the_number_of_words_of_each_rate_are_told() -> None:
    found = words_counted(["am montag zwölf grad in berlin"], "phoenix14t", TextChoices(), ["wer_numbers", "bleu4"])
    assert found == {"wer_numbers": {"rule": RULES["wer_numbers"], "languages": ["de"], "words": 1}}
