"""BLEU, chrF and ROUGE-L, and the presets that say what is counted."""

from pathlib import Path

import pytest
import sacrebleu

from slt_cache.errors import InputError
from slt_cache.metrics.scores import PRESETS, score

REAL = Path(__file__).parents[2] / "shared" / "real" / "scoring"

GERMAN = ["im süden regnet es größtenteils stark", "über österreich fällt heute schnee , später auch regen ."]
CHINESE = ["今天下雪，随后阳光明媚。", "明天北部全天有大风，气温下降。"]
HYPOTHESES = ["im süden regnet es heute stark", "über der küste fällt schnee , später regen ."]
KEYS = {"bleu1", "bleu2", "bleu3", "bleu4", "chrf", "rouge_l", "rouge_l_beta12"}


def values(hypotheses: list[str], references: list[str], preset: str) -> dict[str, float]:
    return {key: one.value for key, one in score(hypotheses, references, preset).items()}


@pytest.mark.parametrize("preset", PRESETS)
def test_identical_sentences_score_100(preset: str) -> None:
    found = values(GERMAN, GERMAN, preset)
    assert set(found) == KEYS
    assert found == pytest.approx(dict.fromkeys(KEYS, 100.0))


def test_identical_chinese_sentences_score_100() -> None:
    assert values(CHINESE, CHINESE, "csl-daily") == pytest.approx(dict.fromkeys(KEYS, 100.0))


@pytest.mark.parametrize("preset", PRESETS)
def test_sentences_without_a_common_word_score_0(preset: str) -> None:
    found = values(["xxxx yyyy"] * 2, ["今天 下雪 明天 下雨 ä", "大风 大雪 大雨 晴天 ö"], preset)
    assert max(found.values()) == 0.0


@pytest.mark.parametrize(
    ("preset", "tokenize"), [("plain", "13a"), ("phoenix14t", "none"), ("csl-daily", "char"), ("how2sign", "13a")]
)
def test_bleu_and_chrf_are_sacrebleus(preset: str, tokenize: str) -> None:
    found = score(HYPOTHESES, GERMAN, preset)
    for order in range(1, 5):
        bleu = sacrebleu.BLEU(tokenize=tokenize, max_ngram_order=order)
        direct = bleu.corpus_score(HYPOTHESES, [GERMAN])
        assert found[f"bleu{order}"].value == pytest.approx(direct.score)
        assert found[f"bleu{order}"].signature.startswith(str(bleu.get_signature()))
        assert f"tok:{tokenize}" in found[f"bleu{order}"].signature
    assert found["chrf"].value == pytest.approx(sacrebleu.corpus_chrf(HYPOTHESES, [GERMAN]).score)
    assert 0 < found["bleu4"].value < found["bleu3"].value < found["bleu2"].value < found["bleu1"].value < 100


def test_bleu_1_is_not_the_precision_but_knows_brevity() -> None:
    found = values(["im süden"], ["im süden regnet es"], "plain")
    assert found["bleu1"] == pytest.approx(100 * 2.718281828 ** (1 - 4 / 2))


@pytest.mark.parametrize(
    ("sentence", "other", "preset"),
    [("größer süden", "grün segeln", "plain"), ("今天下雪", "明天刮风", "csl-daily"), ("ça là", "ñu où", "phoenix14t")],
)
def test_rouge_counts_units_beyond_a_to_z(sentence: str, other: str, preset: str) -> None:
    """rouge-score's own tokenizer drops these characters: equal sentences score 0, halves of words match."""
    equal, different = values([sentence], [sentence], preset), values([other], [sentence], preset)
    assert equal["rouge_l"] == equal["rouge_l_beta12"] == pytest.approx(100.0)
    if preset != "csl-daily":
        assert different["rouge_l"] == 0.0


def test_rouge_l_follows_the_formula() -> None:
    # Longest common subsequence "im süden es", 3 of 4 hypothesis words, 3 of 6 reference words.
    found = values(["im süden schneit es"], ["heute im süden regnet es stark"], "phoenix14t")
    precision, recall = 3 / 4, 3 / 6
    assert found["rouge_l"] == pytest.approx(100 * 2 * precision * recall / (precision + recall))
    weight = 1.2**2
    expected = (1 + weight) * precision * recall / (recall + weight * precision)
    assert found["rouge_l_beta12"] == pytest.approx(100 * expected)
    assert found["rouge_l_beta12"] < found["rouge_l"]  # recall is the lower one and weighs more


def test_rouge_l_is_the_mean_over_sentences() -> None:
    both = values(HYPOTHESES, GERMAN, "plain")
    single = [values([one], [other], "plain") for one, other in zip(HYPOTHESES, GERMAN, strict=True)]
    for key in ("rouge_l", "rouge_l_beta12"):
        assert both[key] == pytest.approx(sum(one[key] for one in single) / 2)


def test_presets_cut_words_differently() -> None:
    # The punctuation sticks to its word between blanks, is left out of words, and is a character of its own.
    hypothesis, reference = ["Heute Regen."], ["heute regen"]
    assert values(hypothesis, reference, "plain")["rouge_l"] == pytest.approx(100.0)
    assert values(hypothesis, reference, "phoenix14t")["rouge_l"] == 0.0
    assert 0 < values(hypothesis, reference, "csl-daily")["rouge_l"] < 100


def test_blanks_between_chinese_characters_change_nothing() -> None:
    blanks = [" ".join(sentence) for sentence in CHINESE]
    found = values(blanks, CHINESE, "csl-daily")
    assert (found["bleu4"], found["rouge_l"]) == pytest.approx((100.0, 100.0))


def test_an_empty_hypothesis_counts_as_wrong() -> None:
    found = values([GERMAN[0], ""], GERMAN, "plain")
    assert found["rouge_l"] == pytest.approx(50.0)
    assert 0 < found["bleu1"] < 100


def test_signatures_say_how_it_was_computed() -> None:
    found = score(HYPOTHESES, GERMAN, "csl-daily")
    assert "characters" in found["rouge_l"].signature
    assert found["rouge_l"].signature.endswith("beta:1")
    assert found["rouge_l_beta12"].signature.endswith("beta:1.2")
    assert found["bleu2"].name == "BLEU-2"
    assert len({one.signature for one in found.values()}) == len(found)


def test_hypotheses_and_references_must_pair_up() -> None:
    with pytest.raises(InputError, match="1 hypotheses but 2 references"):
        score(["a"], ["a", "b"])


def test_no_sentences_are_refused() -> None:
    with pytest.raises(InputError, match="no sentences"):
        score([], [])


def read_pairs(folder: Path, hypotheses: str) -> tuple[list[str], list[str]]:
    if not folder.is_dir():
        pytest.skip("the real outputs are not there")

    def sentences(name: str) -> dict[str, str]:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        return {clip: text for clip, _, text in (line.partition("|") for line in lines)}

    found, references = sentences(hypotheses), sentences("references.txt")
    assert found.keys() == references.keys()
    return [found[clip] for clip in references], list(references.values())


@pytest.mark.parametrize(
    ("step", "bleu", "chrf", "rouge"),
    [
        (1000, (20.51, 10.84, 6.42, 4.45), 25.25, 26.19),
        (40000, (44.79, 31.43, 23.84, 19.25), 42.96, 45.61),
        (110000, (48.00, 34.53, 26.64, 21.52), 44.77, 48.78),
    ],
)
def test_real_phoenix_outputs_score_what_their_log_says(
    step: int, bleu: tuple[float, ...], chrf: float, rouge: float
) -> None:
    found = values(*read_pairs(REAL / "phoenix_dev", f"hypotheses.{step}.txt"), "phoenix14t")
    assert [found[f"bleu{order}"] for order in range(1, 5)] == pytest.approx(bleu, abs=0.02)
    assert found["chrf"] == pytest.approx(chrf, abs=0.02)
    assert found["rouge_l_beta12"] == pytest.approx(rouge, abs=0.02)


def test_real_csl_daily_outputs_score_what_is_known() -> None:
    found = values(*read_pairs(REAL / "csl_daily_dev", "hypotheses.txt"), "csl-daily")
    assert found["bleu1"] == pytest.approx(53.30, abs=0.02)
    assert found["bleu4"] == pytest.approx(25.27, abs=0.02)
