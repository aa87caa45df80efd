"""The LLM's tokenizer and text before anything is trained."""

from pathlib import Path

import pytest

from slt_cache.config import load_config
from slt_cache.corpora.base import MONOLINGUAL_FILE, Clip
from slt_cache.pipeline.llm_tokenizer import ensure_tokenizer, pretraining_text
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run

TEXTS = ["am montag regnet es", "am dienstag scheint die sonne"]
CLIPS = [Clip(str(n), "train", Path("v.mp4"), None, None, text) for n, text in enumerate(TEXTS)]


def run_with(folder: Path, *settings: str) -> Run:
    return Run(folder, load_config("avatar", settings))


def test_the_small_llm_learns_from_the_named_text_else_the_corpus_text_else_train(tmp_path: Path) -> None:
    held_out = [Clip("d", "dev", Path("d.mp4"), None, None, "am mittwoch schneit es")]
    assert pretraining_text(run_with(tmp_path), [*CLIPS, *held_out]) == TEXTS
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / MONOLINGUAL_FILE).write_text("ein satz\n", encoding="utf-8")
    assert pretraining_text(run_with(tmp_path), CLIPS) == ["ein satz"]
    (tmp_path / "own.txt").write_text("mein satz\n", encoding="utf-8")
    assert pretraining_text(run_with(tmp_path, f"llm_pretraining.text={tmp_path / 'own.txt'}"), CLIPS) == ["mein satz"]


def test_characters_that_only_train_has_get_a_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    run = run_with(tmp_path, f"llm_pretraining.text={tmp_path / 'own.txt'}", "llm_pretraining.vocabulary=40")
    clips = [*CLIPS, Clip("x", "train", Path("x.mp4"), None, None, "zwölf")]
    with Derived(run, "train-visual", restart=False) as derived:
        tokenizer = ensure_tokenizer(run, clips, derived)
    assert tokenizer.decode(tokenizer.encode("zwölf")) == "zwölf"
    assert "only the train split has the characters" in capsys.readouterr().err


def test_a_part_of_the_text_is_drawn_evenly_from_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("".join(f"satz {n}\n" for n in range(10)), encoding="utf-8")
    text = f"llm_pretraining.text={tmp_path / 'own.txt'}"
    some = pretraining_text(run_with(tmp_path, text, "llm_pretraining.sentences=3"), CLIPS)
    assert some == ["satz 0", "satz 3", "satz 6"]
    assert len(pretraining_text(run_with(tmp_path, text, "llm_pretraining.sentences=20"), CLIPS)) == 10
