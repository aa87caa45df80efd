"""Tiny decoder-only LLMs with random weights, each a `from_pretrained` folder of a class that is published large.

Tokenizers have the parts of the published ones: what normalizes, splits and decodes, the special tokens and where they
stand, byte fallback, and a chat template. Layers, widths and tokens are few."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GemmaTokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
    XGLMTokenizer,
)
from transformers.tokenization_utils_base import generate_merges

from tests.helpers.small_llms import PIECES, SEED, SENTENCES, WIDTH, train_unigram

UNUSED = 40
"""Reserved tokens; Gemma has 6,242 of them, Llama 3 has 248."""
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
BYTE_LEVEL = sorted(pre_tokenizers.ByteLevel.alphabet())
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
TURNS = (
    "{{ bos_token }}{% for message in messages %}START{{ message['role'] }}MIDDLE{{ message['content'] | trim }}END\n"
    "{% endfor %}{% if add_generation_prompt %}STARTassistantMIDDLE{% endif %}"
)


def make_causal_llm(family: str, folder: Path, sentences: Sequence[str] = SENTENCES, **config_changes: Any) -> None:
    """Writes model and tokenizer of the family; tokens are learned from the sentences, the same each time."""
    tokenizer = TOKENIZERS[family](sentences)
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        settings = {"vocab_size": len(tokenizer), **_SHAPE, **ids, **_SETTINGS.get(family, {}), **config_changes}
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(_MODEL_TYPES.get(family, family), **settings))
        if (bias := model.get_output_embeddings().bias) is not None:
            torch.nn.init.normal_(bias)  # zeros in a fresh model; a test sees only what differs
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _gpt2(sentences: Sequence[str]) -> Any:
    vocab, merges = _train_bpe(sentences, pre_tokenizers.ByteLevel(add_prefix_space=False), BYTE_LEVEL)
    return GPT2Tokenizer(vocab={**vocab, "<|endoftext|>": len(vocab)}, merges=merges)


def _llama3(sentences: Sequence[str]) -> Any:
    """Words in the vocabulary are taken whole (`ignore_merges`), also one that no merges lead to; the special tokens
    come after the vocabulary."""
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    vocab, merges = _train_bpe(sentences, split, BYTE_LEVEL)
    vocab.setdefault("Ġtemperaturen", len(vocab))
    inner = Tokenizer(models.BPE(vocab, merges, ignore_merges=True))
    inner.pre_tokenizer, inner.decoder = split, decoders.ByteLevel()
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    inner.add_special_tokens([*names, *(f"<|reserved_special_token_{index}|>" for index in range(UNUSED))])
    begin = ("<|begin_of_text|>", inner.token_to_id("<|begin_of_text|>"))
    template = processors.TemplateProcessing("<|begin_of_text|> $A", special_tokens=[begin])
    inner.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>"
    )
    tokenizer.chat_template = _turns("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>")
    return tokenizer


def _qwen2(sentences: Sequence[str]) -> Any:
    vocab, merges = _train_bpe(sentences, Qwen2Tokenizer().backend_tokenizer.pre_tokenizer, BYTE_LEVEL)
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.add_tokens([AddedToken(token, special=True) for token in ("<|im_start|>", "<|vision_start|>")])
    tokenizer.add_tokens(["<tool_call>", "</tool_call>"])
    tokenizer.chat_template = _turns("<|im_start|>", "\n", "<|im_end|>").replace("{{ bos_token }}", "")
    return tokenizer


def _gemma(sentences: Sequence[str]) -> Any:
    """Reserved tokens and runs of blanks are added tokens inside of the vocabulary, before the bytes."""
    blanks = ["\n" * count for count in range(1, 5)] + ["▁" * count for count in range(2, 6)]
    reserved = [f"<unused{index}>" for index in range(UNUSED)]
    turns = ["<start_of_turn>", "<end_of_turn>"]
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *reserved, *turns, *blanks, *BYTES]
    vocab, merges = _with_all_merges(sentences, tokens)
    tokenizer = GemmaTokenizer(vocab=vocab, merges=merges, extra_special_tokens=turns)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in (*reserved, *blanks)])
    tokenizer.chat_template = _turns("<start_of_turn>", "\n", "<end_of_turn>")
    return tokenizer


def _llama(sentences: Sequence[str]) -> Any:
    vocab, merges = _with_all_merges(sentences, ["<unk>", "<s>", "</s>", *BYTES])
    return LlamaTokenizer(vocab=vocab, merges=merges)


def _mistral(sentences: Sequence[str]) -> Any:
    """A whole sentence is one word, which begins with a blank that is put in front."""
    vocab, merges = _with_all_merges(sentences, ["<unk>", "<s>", "</s>", *BYTES])
    inner = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", left=1)]
    )
    inner.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = _turns("[INST] ", ": ", " [/INST]")
    return tokenizer


def _xglm(sentences: Sequence[str]) -> Any:
    pieces, charsmap = train_unigram(sentences)
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    return XGLMTokenizer(vocab=[*special, *pieces], _spm_precompiled_charsmap=charsmap)


TOKENIZERS: dict[str, Callable[[Sequence[str]], Any]] = {
    "gpt2": _gpt2,  # openai-community/gpt2
    "llama3": _llama3,  # meta-llama/Llama-3.2-1B
    "qwen2": _qwen2,  # Qwen/Qwen2.5-0.5B
    "qwen3": _qwen2,  # Qwen/Qwen3-0.6B
    "phi": _gpt2,  # microsoft/phi-1_5, whose output layer has a bias
    "gemma3_text": _gemma,  # google/gemma-3-270m
    "llama": _llama,  # meta-llama/Llama-2-7b-hf
    "mistral": _mistral,  # mistralai/Mistral-7B-v0.1
    "xglm": _xglm,  # facebook/xglm-564M
}
CAUSAL_FAMILIES = tuple(TOKENIZERS)

_MODEL_TYPES = {"llama3": "llama"}
_SHAPE = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
_SETTINGS: dict[str, dict[str, Any]] = {
    "gemma3_text": {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"tie_word_embeddings": True},
    "xglm": {"d_model": WIDTH, "ffn_dim": 2 * WIDTH, "num_layers": 2, "attention_heads": 4, "init_std": 0.2},
}


def _turns(start: str, middle: str, end: str) -> str:
    return TURNS.replace("START", start).replace("MIDDLE", middle).replace("END", end)


def _train_bpe(sentences: Iterable[str], pre_tokenizer: Any, alphabet: Sequence[str]) -> tuple[dict[str, int], Any]:
    """Vocabulary and merges of byte-pair encoding; merges are pairs, which transformers types as strings."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + PIECES, initial_alphabet=list(alphabet), show_progress=False
    )
    inner.train_from_iterator(sentences, trainer)
    trained = json.loads(inner.to_str())["model"]
    return trained["vocab"], [tuple(merge) for merge in trained["merges"]]


def _with_all_merges(sentences: Sequence[str], first: Sequence[str]) -> tuple[dict[str, int], Any]:
    """Vocabulary that begins with some tokens, and merges as they are made of a sentencepiece model: every way in which
    a token can be put together."""
    letters = sorted(set("".join(sentences)) - {" "})
    learned, _ = _train_bpe(sentences, pre_tokenizers.Metaspace(), ["▁", *letters])
    vocab = {token: index for index, token in enumerate(dict.fromkeys([*first, *learned]))}
    return vocab, generate_merges(learned)
