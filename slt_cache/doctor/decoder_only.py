"""Check: a decoder-only LLM is fine-tuned on the device."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Tokenizer, LlamaConfig, LlamaForCausalLM

from slt_cache.doctor.base import Check, Finding, Subject, against_cpu, exact
from slt_cache.features.cache import FeatureCache
from slt_cache.pipeline.train_llm import train_llm

VOCABULARY, WIDTH = 400, 32


def _check(subject: Subject) -> Iterator[Finding]:
    folder = subject.folder / "small-llama"
    _make_llm(folder, FeatureCache(subject.trained.features, "train").texts)
    settings = (f"llm.name={folder}", "llm.trim=false")
    here, there = (subject.before_stage_2(name, device, *settings) for name, device in subject.both("decoder-only"))
    with exact(subject.device):
        for run in (here, there):
            train_llm(run, run.features)
    yield from against_cpu(there.llm, here.llm)


def _make_llm(folder: Path, sentences: Sequence[str]) -> None:
    """Saves a small Llama of random weights, with a tokenizer of bytes that was trained on the sentences."""
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = bytes_of
    alphabet = sorted(bytes_of.alphabet())
    inner.train_from_iterator(
        sentences, trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    )
    trained = json.loads(inner.to_str())["model"]
    vocabulary = {**trained["vocab"], "<|endoftext|>": len(trained["vocab"])}
    merges: Any = [tuple(merge) for merge in trained["merges"]]  # transformers types them as strings
    tokenizer = GPT2Tokenizer(vocab=vocabulary, merges=merges)
    end = tokenizer.eos_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=512,
                bos_token_id=end,
                eos_token_id=end,
                pad_token_id=end,
            )
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


CHECK = Check("decoder-only", "Stage 2 fine-tunes a small Llama, a decoder-only LLM.", _check)
