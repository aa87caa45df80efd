"""Tiny models with random weights, each a `from_pretrained` folder of the class of a large published model.

Ids, ties and sequence formats are those of the published models; layers, widths and vocabularies are small."""

import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartTokenizer,
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartTokenizer,
    MT5Config,
    MT5ForConditionalGeneration,
    NllbTokenizer,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

SEED = 7
WIDTH = 32
EXTRA_IDS = 4
"""Number of T5's sentinels; the published model has 100."""
PIECES = 300
"""Size of the vocabulary, in addition to one token for each character of the text."""

SENTENCES = (
    "am tag scheint die sonne , im süden regnet es .",
    "und nun die wettervorhersage für morgen , donnerstag den zwölften august .",
    "in der nacht sinken die temperaturen auf minus drei grad .",
    "der wind weht schwach bis mäßig , an der küste auch stürmisch .",
    "Morgen fällt im Norden Schnee, später auch in der Mitte.",
    "Größere Wolkenlücken gibt es höchstens am Oberrhein.",
    "liebe zuschauer guten abend .",
    "regen und schnee lassen an den alpen in der nacht nach .",
    "And I'm going to show you how to tie a good knot.",
    "Now we'll take a look at the weather for tomorrow.",
    "You want to keep your hands soft, and your eyes open.",
    "It's raining in the north; the sun shines in the south.",
    "Hi, my name is Sam, and today I'm teaching you a new sign!",
    "What are you going to do with 25 eggs and 3 kinds of flour?",
    "The weather is good today, so we are going for a walk.",
    "Thank you for watching, and good night.",
    "今天天气很好，我们去公园散步。",
    "你什么时候去北京？我想和你一起去！",
    "他说：“明天可能会下雨。”",
    "我的妈妈是医生，她每天工作很忙。",
    "请问，火车站怎么走？",
    "明天北方有雪，南方有雨；气温下降三度。",
    "这本书（中文版）一共有２５页。",
    "谢谢大家，晚安！",
)
"""Sentences in German, English and Chinese, with full-width punctuation."""


def make_small_llm(family: str, folder: Path, sentences: Sequence[str] = SENTENCES, **config_changes: Any) -> None:
    """Writes model and tokenizer of the family; the tokenizer is trained on the sentences, the same each time."""
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("sentencepiece").setLevel(logging.ERROR)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model, tokenizer = MAKERS[family](folder, sentences, config_changes)
        if hasattr(model, "final_logits_bias"):  # zeros in the published models; a test sees only what differs
            model.get_buffer("final_logits_bias").normal_()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _mbart(folder: Path, sentences: Sequence[str], changes: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES

    pieces, _ = train_unigram(sentences)
    codes = [(code, 0.0) for code in FAIRSEQ_LANGUAGE_CODES]
    # Its tokens come from normalized text, but it does not normalize: full-width punctuation is unknown to it.
    tokenizer = MBartTokenizer(vocab=[*_FAIRSEQ, *pieces, *codes, ("<mask>", 0.0)], src_lang="en_XX", tgt_lang="de_DE")
    german = tokenizer.convert_tokens_to_ids("de_DE")
    config = MBartConfig(
        **_like_bart(len(tokenizer), scale_embedding=True, decoder_start_token_id=german, forced_eos_token_id=2)
        | {"task_specific_params": {"translation_en_to_de": {"decoder_start_token_id": german}}}
    )
    return MBartForConditionalGeneration(_changed(config, changes)), tokenizer


def _mbart50(folder: Path, sentences: Sequence[str], changes: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES

    pieces, charsmap = train_unigram(sentences)
    codes = [(code, 0.0) for code in FAIRSEQ_LANGUAGE_CODES]
    tokenizer = MBart50Tokenizer(
        vocab=[*_FAIRSEQ, *pieces, *codes, ("<mask>", 0.0)],
        _spm_precompiled_charsmap=charsmap,
        src_lang="en_XX",
        tgt_lang="de_DE",
    )
    config = MBartConfig(
        **_like_bart(len(tokenizer), scale_embedding=True, decoder_start_token_id=2, forced_eos_token_id=2)
        | {"tokenizer_class": "MBart50Tokenizer"}
    )
    return MBartForConditionalGeneration(_changed(config, changes)), tokenizer


def _mt5(folder: Path, sentences: Sequence[str], changes: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    pieces, charsmap = train_unigram(sentences)
    byte_pieces = [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]  # never reached: transformers has no fallback here
    tokenizer = T5Tokenizer(vocab=[*_T5, *byte_pieces, *pieces], _spm_precompiled_charsmap=charsmap, extra_ids=0)
    config = MT5Config(**_like_t5(len(tokenizer) + 12), feed_forward_proj="gated-gelu")
    model = MT5ForConditionalGeneration(_changed(config, changes))
    model.lm_head.weight = nn.Parameter(torch.randn(config.vocab_size, WIDTH))  # not tied, whatever its config says
    return model, tokenizer


def _t5(folder: Path, sentences: Sequence[str], changes: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    pieces, charsmap = train_unigram(sentences)
    sentinels = [(f"<extra_id_{extra}>", 0.0) for extra in reversed(range(EXTRA_IDS))]
    tokenizer = T5Tokenizer(vocab=[*_T5, *pieces, *sentinels], _spm_precompiled_charsmap=charsmap, extra_ids=EXTRA_IDS)
    config = T5Config(**_like_t5(len(tokenizer) + 28), feed_forward_proj="relu")
    return T5ForConditionalGeneration(_changed(config, changes)), tokenizer


def _nllb(folder: Path, sentences: Sequence[str], changes: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES
    from transformers.tokenization_utils_base import generate_merges

    pieces, charsmap = _read_pieces(_train_sentencepiece(sentences, "bpe"))
    names = [piece for piece, _ in (*_FAIRSEQ, *pieces)]
    tokenizer = NllbTokenizer(
        vocab={piece: index for index, piece in enumerate([*names, *FAIRSEQ_LANGUAGE_CODES, "<mask>"])},
        merges=generate_merges({piece: index for index, (piece, _) in enumerate(pieces)}),
        _spm_precompiled_charsmap=charsmap,
        src_lang="eng_Latn",
    )
    config = M2M100Config(**_like_bart(len(tokenizer) + 2, scale_embedding=True, decoder_start_token_id=2))
    config.tokenizer_class = "NllbTokenizer"
    model = M2M100ForConditionalGeneration(_changed(config, changes))
    model.generation_config.max_length = 200
    return model, tokenizer


def _m2m100(folder: Path, sentences: Sequence[str], changes: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

    proto = _train_sentencepiece(sentences, "bpe")
    names = [piece for piece, _ in (*_FAIRSEQ, *_read_pieces(proto)[0])]
    (folder / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(names)}))
    (folder / "sentencepiece.bpe.model").write_bytes(proto)
    tokenizer = M2M100Tokenizer(
        vocab_file=str(folder / "vocab.json"),
        spm_file=str(folder / "sentencepiece.bpe.model"),
        src_lang="en",
        additional_special_tokens=[f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES["m2m100"]],
    )
    rows = len(names) + len(tokenizer.lang_code_to_id) + tokenizer.num_madeup_words
    config = M2M100Config(**_like_bart(rows, scale_embedding=True, decoder_start_token_id=2))
    model = M2M100ForConditionalGeneration(_changed(config, changes))
    model.generation_config.update(num_beams=5, max_length=200, early_stopping=True)
    return model, tokenizer


def _bart(folder: Path, sentences: Sequence[str], changes: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + PIECES,
        special_tokens=[piece for piece, _ in _FAIRSEQ],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(sentences, trainer)
    trained = json.loads(inner.to_str())["model"]
    vocab = {**trained["vocab"], "<mask>": len(trained["vocab"])}
    merges: Any = [tuple(merge) for merge in trained["merges"]]
    tokenizer = BartTokenizer(vocab=vocab, merges=merges)
    config = BartConfig(
        **_like_bart(len(tokenizer), scale_embedding=False, decoder_start_token_id=2, forced_eos_token_id=2)
    )
    model = BartForConditionalGeneration(_changed(config, changes))
    model.generation_config.update(forced_bos_token_id=0, num_beams=4, no_repeat_ngram_size=3, early_stopping=True)
    return model, tokenizer


Maker = Callable[[Path, Sequence[str], dict[str, Any]], tuple[PreTrainedModel, Any]]
MAKERS: dict[str, Maker] = {
    "mbart": _mbart,  # facebook/mbart-large-cc25
    "mbart50": _mbart50,  # facebook/mbart-large-50
    "mt5": _mt5,  # google/mt5-base
    "t5": _t5,  # t5-base
    "nllb": _nllb,  # facebook/nllb-200-distilled-600M
    "m2m100": _m2m100,  # facebook/m2m100_418M
    "bart": _bart,  # facebook/bart-base
}
FAMILIES = tuple(MAKERS)

_FAIRSEQ = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
_T5 = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]


def _like_bart(rows: int, **special: Any) -> dict[str, Any]:
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    width = {"d_model": WIDTH, "encoder_ffn_dim": 2 * WIDTH, "decoder_ffn_dim": 2 * WIDTH, "init_std": 0.2}
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    return {"vocab_size": rows, "max_position_embeddings": 256, **layers, **width, **ids, **special}


def _like_t5(rows: int) -> dict[str, Any]:
    shape = {"d_model": WIDTH, "d_kv": 8, "d_ff": 2 * WIDTH, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
    return {"vocab_size": rows, **shape, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}


def _changed(config: Any, changes: dict[str, Any]) -> Any:
    for name, value in changes.items():
        setattr(config, name, value)
    return config


def train_unigram(sentences: Sequence[str]) -> tuple[list[tuple[str, float]], Any]:
    """Returns tokens with scores, and the normalization rules (NFKC) that were applied before training."""
    return _read_pieces(_train_sentencepiece(sentences, "unigram"))


def _read_pieces(model: bytes) -> tuple[list[tuple[str, float]], Any]:
    """Returns tokens with scores, without `<unk> <s> </s>`, and the normalizer's table of a sentencepiece model, which
    is bytes; transformers types it as a string."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [(processor.id_to_piece(index), processor.get_score(index)) for index in range(3, len(processor))]
    normalizer_spec = dict(_fields(model))[3]
    return pieces, dict(_fields(normalizer_spec))[2]


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the length-delimited fields of a protobuf message: number and content. (protobuf is no dependency.)"""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte, at = message[at], at + 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            varint()
        else:
            length = varint() if key & 7 == 2 else {1: 8, 5: 4}[key & 7]
            if key & 7 == 2:
                yield key >> 3, message[at : at + length]
            at += length


def _train_sentencepiece(sentences: Sequence[str], kind: str) -> bytes:
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=written,
        vocab_size=len(set("".join(sentences))) + PIECES,
        model_type=kind,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return written.getvalue()
