"""A tokenizer of fewer tokens cuts the text as before, or nothing is written."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer, MBartTokenizer

from slt_cache.errors import SltCacheError
from slt_cache.pipeline.trim_llm import trim_llm
from slt_cache.text import trimmed_tokenizer as trimming
from slt_cache.text.trimmed_tokenizer import require_same_tokens, trim_tokenizer
from tests.helpers.small_llms import FAMILIES, SENTENCES, make_small_llm

REAL = Path(__file__).parents[3] / "shared" / "real"
PIECE_MODEL = REAL / "tokenizer" / "gfslt_mbart_trimmed.bpe.model"
REAL_TEXT = REAL / "text" / "phoenix14t.train.de.txt"
needs_real = pytest.mark.skipif(
    not (PIECE_MODEL.is_file() and REAL_TEXT.is_file()), reason="no real pieces and sentences beside the project"
)


@pytest.mark.parametrize("family", FAMILIES)
def test_any_part_of_the_text_can_be_trimmed_to(family: str, tmp_path: Path) -> None:
    make_small_llm(family, tmp_path / "whole")
    whole = AutoTokenizer.from_pretrained(tmp_path / "whole")
    for number in range(8):
        sentences = [*SENTENCES[number::5], SENTENCES[number].upper(), f"{number}…① Ω"]
        folder = tmp_path / str(number)
        folder.mkdir()
        id_map = trim_tokenizer(whole, sentences, [], False, folder)
        changed = require_same_tokens(whole, folder, id_map, sentences)  # it raises where one differs
        assert family == "m2m100" or not changed


def test_other_pieces_than_before_are_an_error_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_small_llm("mbart", tmp_path / "whole")
    needed = trimming.needed_tokens
    monkeypatch.setattr(trimming, "needed_tokens", lambda *given: needed(*given) - {"▁you"})
    with pytest.raises(SltCacheError, match="cannot be trimmed safely"):
        trim_llm(str(tmp_path / "whole"), SENTENCES, {}, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@needs_real
def test_real_sentences_come_back_with_real_pieces(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    model = sentencepiece.SentencePieceProcessor(model_file=str(PIECE_MODEL))
    make_small_llm("mbart", tmp_path / "whole")
    small = json.loads((tmp_path / "whole" / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    codes = small[small.index(["ar_AR", 0.0]) :]
    pieces = [[model.id_to_piece(index), model.get_score(index)] for index in range(3, len(model))]
    whole = MBartTokenizer(vocab=[tuple(piece) for piece in (*small[:4], *pieces, *codes)])
    sentences = [line for line in REAL_TEXT.read_text(encoding="utf-8").split("\n") if line]
    assert len(sentences) == 7096
    (tmp_path / "out").mkdir()
    id_map = trim_tokenizer(whole, sentences, [], False, tmp_path / "out")
    assert require_same_tokens(whole, tmp_path / "out", id_map, sentences) == {}
    assert id_map.added == ()
    assert len(id_map.tokens) < len(whole)
