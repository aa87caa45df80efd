"""Gemma 3 270M with the vocabulary of a corpus: of 262,144 tokens some hundreds stay, and every number of theirs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.real


def test_its_tokens_of_turns_are_kept_and_its_reserved_ones_are_not(gemma_tokenizer: Any) -> None:
    from slt_cache.text.trimmed_tokenizer import marked_special

    kept = gemma_tokenizer.convert_ids_to_tokens(sorted(marked_special(gemma_tokenizer)))
    assert kept == ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]


def test_it_keeps_the_tokens_of_a_corpus_and_their_logits(
    gemma: Any, gemma_tokenizer: Any, gemma_folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from slt_cache.config.data import CorpusConfig
    from slt_cache.corpora.avatar.plan import plan_avatar
    from slt_cache.pipeline.trim_llm import trim_llm

    clips = plan_avatar(CorpusConfig(name="avatar", difficulty=4, clips=800, language="de")).clips
    train = [clip.text for clip in clips if clip.split == "train"]
    report = trim_llm(str(gemma_folder), train, {}, tmp_path / "out", prompts=["Was zeigt das Video?"])
    assert (report.vocab_before, report.parameters_before) == (262_144, 268_098_176)
    assert report.vocab_after < 1000 and report.parameters_after == 268_098_176 - 640 * (262_144 - report.vocab_after)
    assert report.changed == 0
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.tokenize("<start_of_turn><end_of_turn>") == ["<start_of_turn>", "<end_of_turn>"]
    assert "<unused0>" not in tokenizer.get_vocab()
    for text in (*train, "Was zeigt das Video?"):
        assert tokenizer.tokenize(text) == gemma_tokenizer.tokenize(text)
    assert tokenizer.decode(tokenizer("ꙮ 🤟🏽").input_ids, skip_special_tokens=True) == "ꙮ 🤟🏽"
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    kept = torch.tensor(json.loads((tmp_path / "out" / "trimmed_ids.json").read_text(encoding="utf-8"))["old_ids"])
    ids = tokenizer(train[0], return_tensors="pt").input_ids
    with torch.no_grad():
        now, was = model(ids).logits, gemma(kept[ids]).logits[..., kept]
    torch.testing.assert_close(now, was, rtol=0, atol=1e-4)
