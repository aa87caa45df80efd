"""What is done to a sentence before the LLM's tokenizer, and how little of it is done for scoring."""

import unicodedata
from pathlib import Path

import pytest

from slt_cache.config import Config, ScoringConfig
from slt_cache.decoding.search import Hypothesis
from slt_cache.metrics.scores import score
from slt_cache.runs.scoring import preset_of, score_hypotheses
from slt_cache.text.tokenizer import Tokenizer, as_llm_reads_it, load_tokenizer, train_tokenizer

REAL = Path(__file__).parents[3] / "shared" / "real"
COMPOSED = "morgen fällt über österreich schnee"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def hypothesis(text: str) -> Hypothesis:
    return Hypothesis("clip", (text,), (0.0,))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (DECOMPOSED, COMPOSED),
        ("  heute\tregen \u00a0und\u3000schnee\n", "heute regen und schnee"),
        ("今天下雪，随后晴。ＡＢＣ", "今天下雪，随后晴。ＡＢＣ"),
        ("Er sagte: „Schnee“ …", "Er sagte: „Schnee“ …"),
        (" ", ""),
    ],
)
def test_nfc_and_single_blanks_and_nothing_else(text: str, read: str) -> None:
    assert as_llm_reads_it(text) == read
    assert as_llm_reads_it(read) == read


def test_the_tokenizer_cuts_both_spellings_alike(tokenizer: Tokenizer) -> None:
    assert DECOMPOSED != COMPOSED
    assert tokenizer.encode(f" {DECOMPOSED}\u00a0 ") == tokenizer.encode(COMPOSED)
    assert tokenizer.inner.unk_token_id not in tokenizer.encode(DECOMPOSED)


def test_the_ids_of_ordinary_text_are_those_of_the_bare_tokenizer(tokenizer: Tokenizer, sentences: list[str]) -> None:
    for sentence in [*sentences, COMPOSED, "今天下雪，随后晴。"]:
        assert tokenizer.encode(sentence) == tokenizer.inner(sentence, add_special_tokens=False)["input_ids"]


def test_pieces_are_trained_on_what_the_tokenizer_will_read(tmp_path: Path, sentences: list[str]) -> None:
    for name, form in (("composed", "NFC"), ("decomposed", "NFD")):
        train_tokenizer([unicodedata.normalize(form, one) for one in sentences], 180, "de_DE", tmp_path / name)
    composed, decomposed = (load_tokenizer(str(tmp_path / name), "de_DE") for name in ("composed", "decomposed"))
    assert decomposed.sha256 == composed.sha256


def test_scoring_sees_the_raw_reference_text_but_for_the_form_of_its_characters() -> None:
    """A reference with its punctuation apart is another text; one in the other spelling of Unicode is the same."""
    config = Config(scoring=ScoringConfig(preset="phoenix14t"))
    apart = COMPOSED.replace("schnee", "schnee .")
    found = score_hypotheses(config, [hypothesis(COMPOSED)], [apart])
    assert found["bleu4"].value < 100
    assert found == score([COMPOSED], [apart], "phoenix14t")
    for one, other in ((COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (DECOMPOSED, DECOMPOSED)):
        assert score_hypotheses(config, [hypothesis(one)], [other])["bleu4"].value == pytest.approx(100.0)


@pytest.mark.parametrize("name", ["phoenix14t", "csl-daily", "how2sign"])
def test_a_corpus_is_scored_by_its_own_preset_unless_another_is_named(name: str) -> None:
    assert preset_of(Config.model_validate({"corpus": {"name": name}})) == name
    assert preset_of(Config.model_validate({"corpus": {"name": name}, "scoring": {"preset": "plain"}})) == "plain"
    assert preset_of(Config.model_validate({"corpus": {"language": "zh"}})) == "csl-daily"
    assert preset_of(Config()) == "plain"


@pytest.mark.parametrize("code", ["zh_CN", "ja_XX", "jpn_Jpan", "yue_Hant", "th_TH", "zho_Hans", "__zh__", "zh"])
def test_a_language_without_blanks_is_scored_by_characters(code: str) -> None:
    assert preset_of(Config.model_validate({"corpus": {"name": "tsv"}, "llm": {"language": code}})) == "csl-daily"


@pytest.mark.parametrize("code", ["de_DE", "deu_Latn", "kor_Hang", "ko_KR", "__en__", "bos_Latn"])
def test_a_language_with_blanks_is_scored_by_words(code: str) -> None:
    assert preset_of(Config.model_validate({"corpus": {"name": "tsv"}, "llm": {"language": code}})) == "plain"


def test_the_settings_change_both_texts_alike_and_stand_in_the_signatures() -> None:
    config = Config(scoring=ScoringConfig(preset="phoenix14t", final_dot="strip", lowercase=True))
    found = score_hypotheses(config, [hypothesis("Morgen fällt viel Schnee.")], ["morgen fällt viel schnee ."])
    for one in found.values():
        assert one.value == pytest.approx(100.0)
        assert one.signature.endswith("|final-dot:strip|lc:yes")


def test_the_real_sentences_are_so_already() -> None:
    text = REAL / "text" / "phoenix14t.train.de.txt"
    if not text.is_file():
        pytest.skip("the real sentences are not there")
    for sentence in text.read_text(encoding="utf-8").splitlines():
        assert as_llm_reads_it(sentence) == sentence
