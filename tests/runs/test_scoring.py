"""What the settings say of scoring: which metrics are computed, and which one selects the best weights."""

import unicodedata
from pathlib import Path

import pytest

from slt_cache.checkpoints.record import Record
from slt_cache.config import Config, ScoringConfig, load_config
from slt_cache.decoding.search import Hypothesis
from slt_cache.errors import InputError
from slt_cache.metrics.registry import ALWAYS
from slt_cache.metrics.scores import score
from slt_cache.runs.run import open_run
from slt_cache.runs.scoring import metrics_of, preset_of, score_hypotheses

SECTIONS = ("visual_training", "llm_training")

COMPOSED = "morgen fällt über österreich schnee"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def test_metrics_of_the_settings_and_what_trainings_select_by_are_computed_too() -> None:
    assert metrics_of(Config()) == ALWAYS
    for setting in ("scoring.metrics=[ter]", "training.select_by=ter", "visual_training.select_by=ter"):
        assert metrics_of(load_config("avatar", [setting])) == (*ALWAYS, "ter")
    assert metrics_of(load_config("avatar", ["scoring.metrics=[bleu4, chrf]"])) == ALWAYS


def test_training_stands_for_both_stages_on_the_command_line_and_in_a_file(tmp_path: Path) -> None:
    run = open_run(tmp_path / "new", "avatar", ["training.select_by=chrf", "visual_training.epochs=3"])
    assert [getattr(run.config, section).select_by for section in SECTIONS] == ["chrf", "chrf"]
    assert run.overrides[:2] == ("visual_training.select_by=chrf", "llm_training.select_by=chrf")
    file = tmp_path / "own.yaml"
    file.write_text("training:\n  select_by: rouge_l\nllm_training:\n  select_by: chrf\n", encoding="utf-8")
    loaded = load_config(str(file))
    assert [getattr(loaded, section).select_by for section in SECTIONS] == ["rouge_l", "chrf"]
    with pytest.raises(InputError, match=r"unknown key visual_training\.adapter_lr"):
        load_config("avatar", ["training.adapter_lr=1"])


def test_records_name_what_selected_the_weights_unless_it_is_bleu4() -> None:
    dev = {"bleu4": 20.312, "ter": 61.5}
    for section in SECTIONS:
        settings = getattr(load_config("avatar"), section).recorded()
        assert "select_by" not in settings
        assert Record("stage", {section: settings}, dev=dev).dev_score == "BLEU-4 20.31"
        by_ter = getattr(load_config("avatar", ["training.select_by=ter"]), section).recorded()
        assert by_ter == {**settings, "select_by": "ter"}
        for name in (section, "loop"):  # the baseline records its loop
            assert Record("stage", {name: by_ter}, dev=dev).dev_score == "TER 61.50"
    assert Record("stage", {}).dev_score == ""


def hypothesis(text: str) -> Hypothesis:
    return Hypothesis("clip", (text,), (0.0,))


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
