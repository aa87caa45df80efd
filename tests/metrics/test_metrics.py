"""BLEU, chrF and ROUGE-L, and the presets that say what is counted."""

import numpy as np
import pytest
import sacrebleu

from slt_cache.errors import InputError
from slt_cache.metrics.bootstrap import paired_means
from slt_cache.metrics.normalization import FinalDot, TextChoices
from slt_cache.metrics.presets import PRESETS
from slt_cache.metrics.rouge import longest_common
from slt_cache.metrics.scores import compare, score
from tests.helpers.real_sentences import real_pairs

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


def test_maessig_kuehl_is_two_words() -> None:
    """One of two words right is half, in every preset that counts words."""
    for preset in ("plain", "phoenix14t", "how2sign"):
        assert values(["mäßig warm"], ["mäßig kühl"], preset)["rouge_l"] == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("final_dot", "text", "german", "chinese"),
    [
        ("keep", "regen .  ", "regen .  ", "regen .  "),
        ("strip", "regen .", "regen", "regen"),
        ("strip", "regen. . ", "regen", "regen"),
        ("strip", "今天下雪。", "今天下雪", "今天下雪"),
        ("strip", "z. b. um 3.5 grad!", "z. b. um 3.5 grad!", "z. b. um 3.5 grad!"),
        ("strip", ".", "", ""),
        ("add", "regen", "regen .", "regen。"),
        ("add", "regen.", "regen .", "regen。"),
        ("add", "regen . ", "regen .", "regen。"),
        ("add", "今 天 下 雪 。", "今 天 下 雪 .", "今 天 下 雪。"),
        ("add", "今天星期几？", "今天星期几？", "今天星期几？"),
        ("add", "", "", ""),
    ],
)
def test_the_final_dot(final_dot: FinalDot, text: str, german: str, chinese: str) -> None:
    choices = TextChoices(final_dot)
    assert choices.applied(text, PRESETS["phoenix14t"].dot) == german
    assert choices.applied(text, PRESETS["csl-daily"].dot) == chinese
    assert choices.applied(german, PRESETS["phoenix14t"].dot) == german  # done once is done


def test_an_added_dot_is_what_repositories_do_that_append_one_to_every_sentence() -> None:
    added = score(HYPOTHESES, GERMAN, "phoenix14t", TextChoices("add"))
    bare = (
        [sentence.removesuffix(" .") for sentence in HYPOTHESES],
        [sentence.removesuffix(" .") for sentence in GERMAN],
    )
    hypotheses, references = ([f"{sentence} ." for sentence in side] for side in bare)
    by_hand = values(hypotheses, references, "phoenix14t")
    assert {key: one.value for key, one in added.items()} == by_hand
    stripped = score(HYPOTHESES, GERMAN, "phoenix14t", TextChoices("strip"))
    assert {key: one.value for key, one in stripped.items()} == values(*bare, "phoenix14t")
    assert stripped["bleu1"].value < added["bleu1"].value


def test_every_choice_stands_in_every_signature() -> None:
    for found in score(HYPOTHESES, GERMAN, "phoenix14t", TextChoices("add", lowercase=True)).values():
        assert found.signature.endswith("|final-dot:add|lc:yes")
    for found in score(CHINESE, CHINESE, "csl-daily", TextChoices("add")).values():
        assert found.signature.endswith("|final-dot:add(。)")
    for found in score(HYPOTHESES, GERMAN, "phoenix14t", TextChoices()).values():
        assert "final-dot" not in found.signature and "lc:" not in found.signature.replace("case:lc", "")


def test_lowercase_is_for_both_texts_and_for_all_figures() -> None:
    upper = [sentence.upper() for sentence in GERMAN]
    title = [sentence.title() for sentence in GERMAN]
    assert values(upper, title, "phoenix14t")["bleu4"] < 10
    found = score([one.replace("SS", "ß") for one in upper], title, "phoenix14t", TextChoices(lowercase=True))
    assert {key: one.value for key, one in found.items()} == pytest.approx(dict.fromkeys(KEYS, 100.0))
    assert "case:lc" in found["bleu4"].signature and "case:lc" in found["chrf"].signature


MANY = [f"im norden {word} es {10 + number} grad" for number, word in enumerate(["wird", "bleibt", "werden"] * 10)]
WORSE = [sentence.replace("wird", "sind").replace("10", "20") for sentence in MANY]
BAD = ["am abend regen"] * len(MANY)


def test_intervals_are_sacrebleus_and_lie_around_the_figure() -> None:
    found = score(WORSE, MANY, "phoenix14t", bootstrap=200)
    bleu = sacrebleu.BLEU(tokenize="none", force=True)
    direct = bleu.corpus_score(WORSE, [MANY], n_bootstrap=200)
    low, high = found["bleu4"].interval or (0.0, 0.0)
    assert (low, high) == pytest.approx((direct._mean - direct._ci, min(direct._mean + direct._ci, 100.0)))
    for one in found.values():
        low, high = one.interval or (0.0, 0.0)
        assert 0 <= low < one.value < high <= 100
        assert "bs:200|seed:12345" in one.signature
    assert found == score(WORSE, MANY, "phoenix14t", bootstrap=200)
    assert score(WORSE, MANY, "phoenix14t")["bleu4"].interval is None


def test_the_interval_of_a_mean_over_sentences_is_as_wide_as_its_standard_error_says() -> None:
    found = score([*MANY[:15], *BAD[:15]], MANY, "phoenix14t", bootstrap=2000)["rouge_l"]
    assert found.interval is not None
    low, high = found.interval
    standard_error = 50 / 30**0.5  # half of the sentences 100, half 0
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.08)


@pytest.mark.parametrize("resamples", [0, 1, 39, 10_001])
def test_too_few_or_too_many_resamples_are_refused(resamples: int) -> None:
    with pytest.raises(InputError, match=r"--bootstrap .*40 to 10000"):
        score(MANY, MANY, bootstrap=resamples)


@pytest.mark.parametrize("seed", ["none", "0", "x", "-1"])
def test_a_seed_that_sacrebleu_would_not_draw_with_is_refused(seed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", seed)
    with pytest.raises(InputError, match="SACREBLEU_SEED"):
        score(MANY, MANY, bootstrap=100)
    assert score(MANY, MANY)["bleu4"].value == pytest.approx(100.0)


def test_a_clear_difference_is_found_and_none_where_there_is_none() -> None:
    found = compare(MANY, BAD, MANY, "phoenix14t", resamples=200)
    assert found.keys() == KEYS
    for key, one in found.items():
        assert one.p == pytest.approx(1 / 201)
        assert one.value == pytest.approx(100.0)
        assert one.other == pytest.approx(values(BAD, MANY, "phoenix14t")[key])
        assert one.signature == "paired-bs:200|seed:12345"
    assert {one.p for one in compare(WORSE, WORSE, MANY, "phoenix14t", resamples=200).values()} == {1.0}
    mixed = [*WORSE[:15], *MANY[15:]], [*MANY[:15], *WORSE[15:]]
    assert min(one.p for one in compare(*mixed, MANY, "phoenix14t", resamples=200).values()) > 0.05


def test_bleu_orders_are_tested_each_on_its_own() -> None:
    """sacrebleu's PairedTest calls them all BLEU and keeps the last."""
    found = compare(WORSE, BAD, MANY, "phoenix14t", resamples=100)
    alone = values(WORSE, MANY, "phoenix14t")
    assert [found[f"bleu{order}"].value for order in range(1, 5)] == [alone[f"bleu{order}"] for order in range(1, 5)]


def test_the_paired_p_of_means_is_sacrebleus() -> None:
    from sacrebleu.significance import _compute_p_value

    random = np.random.default_rng(0)
    ours, theirs = random.normal(50, 10, 80), random.normal(48, 10, 80)
    drawn = np.random.default_rng(12345).choice(80, size=(300, 80), replace=True)
    differences = np.abs(ours[drawn].mean(axis=1) - theirs[drawn].mean(axis=1))
    expected = _compute_p_value(differences - differences.mean(), abs(ours.mean() - theirs.mean()))
    assert paired_means(ours, theirs, 300)[2] == pytest.approx(expected, abs=1.01 / 301)


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
    found = values(*real_pairs(f"phoenix_dev/hypotheses.{step}.txt"), "phoenix14t")
    assert tuple(round(found[f"bleu{order}"], 2) for order in range(1, 5)) == bleu
    assert round(found["chrf"], 2) == chrf
    assert round(found["rouge_l_beta12"], 2) == rouge


def test_real_csl_daily_outputs_score_what_is_known() -> None:
    found = values(*real_pairs("csl_daily_dev/hypotheses.txt"), "csl-daily")
    assert round(found["bleu1"], 2) == 53.30
    assert round(found["bleu4"], 2) == 25.27


def test_a_step_is_counted_for_every_metric_that_is_scored_or_compared() -> None:
    ours, theirs, references = ["a b c", "d e"], ["a b", "d e f"], ["a b c", "d e f"]
    for work in (
        lambda step: score(ours, references, bootstrap=40, step=step),
        lambda step: compare(ours, theirs, references, resamples=40, step=step),
    ):
        calls: list[int] = []
        found = work(lambda calls=calls: calls.append(1))
        assert len(calls) == len(found) == len(KEYS)


WEAK = ["heute schneit es", "xx yy", "zz qq"]
WANTED = ["heute regnet es", "ganz anders", "nichts davon"]


def test_intervals_of_a_weak_model_lie_around_its_scores() -> None:
    """Some resamples score 0: sacrebleu's own intervals of chrF raise a TypeError then."""
    found = score(WEAK, WANTED, "phoenix14t", bootstrap=100)
    assert found["bleu1"].value == pytest.approx(28.571, abs=0.001)
    assert found["chrf"].value == pytest.approx(14.298, abs=0.001)
    for one in found.values():
        low, high = one.interval or (1.0, -1.0)
        assert 0 <= low <= one.value <= high <= 100
        assert "bs:100|seed:12345" in one.signature
    for key in ("bleu1", "chrf", "rouge_l"):
        low, high = found[key].interval or (0.0, 0.0)
        assert high - low > 20


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    ("hypotheses", "references"),
    [
        (["", "", ""], WANTED),
        ([" ", "\t", ""], WANTED),
        (WANTED, WANTED),
        (["regen"] * 3, ["regen"] * 3),
        (["regen"], ["regen"]),
        (["a"], ["b"]),
        (WANTED, ["heute regnet es", "", ""]),
        (["", "x", "y"], ["", "", "z"]),
        (["?", ".", "..."], ["?", "!", "..."]),
        (["\N{SUN WITH FACE}", "a\u2028b", "\ufeff"], ["\N{SUN WITH FACE}", "a\u2028b", "\ufeff"]),
    ],
)
def test_no_sentences_are_too_odd_to_be_scored_with_intervals_and_compared(
    preset: str, hypotheses: list[str], references: list[str]
) -> None:
    found = score(hypotheses, references, preset, bootstrap=40)
    for one in found.values():
        low, high = one.interval or (1.0, -1.0)
        assert 0 <= low <= one.value <= high <= 100.0001
    same = compare(hypotheses, hypotheses, references, preset, resamples=40)
    assert {one.p for one in same.values()} == {1.0}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("sentence", ["...", "?", "! ?", "。", "☀️", "--", "\N{SUN WITH FACE}"])
def test_identical_sentences_without_a_word_have_rouge_l_100(preset: str, sentence: str) -> None:
    found = values([sentence], [sentence], preset)
    assert (found["rouge_l"], found["rouge_l_beta12"]) == (100.0, 100.0)
    assert values([sentence], ["regen"], preset)["rouge_l"] == 0.0


def test_a_dot_that_is_stripped_away_leaves_equal_sentences_equal() -> None:
    found = score(["regen", "."], ["regen", "."], "phoenix14t", TextChoices("strip"))
    assert found["rouge_l"].value == 100.0


def test_vowel_signs_are_part_of_their_word() -> None:
    assert PRESETS["plain"].rouge_units("मौसम, कि का!") == ["मौसम", "कि", "का"]
    assert values(["कि"], ["का"], "plain")["rouge_l"] == 0.0


def test_a_line_of_very_many_words_is_scored_in_little_time_and_memory() -> None:
    words = [f"w{number % 97}" for number in range(30_000)]
    found = values([" ".join(words)], [" ".join(words[:15_000])], "phoenix14t")
    assert found["rouge_l"] == pytest.approx(100 * 2 * 0.5 / 1.5)


def test_the_longest_common_subsequence_of_long_lines_is_that_of_short_ones() -> None:
    from rouge_score.rouge_scorer import _lcs_table

    random = np.random.default_rng(0)
    for _ in range(30):
        one, other = ([str(unit) for unit in random.integers(0, 5, random.integers(1, 40))] for _ in range(2))
        assert longest_common(one, other) == _lcs_table(one, other)[-1][-1]
