"""Sentences <-> token ids, with the tokenizer of the LLM, which both stages share. Knows no models."""

import hashlib
import io
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from slt_cache.corpora.characters import normalized
from slt_cache.errors import InputError
from slt_cache.files import replacing
from slt_cache.reading import read_as
from slt_cache.text.families import start_tokens
from slt_cache.text.pretrained import loading
from slt_cache.text.target_start import language_code

FRAMING_FILE = "framing.json"
"""Beside a saved tokenizer: what its model's config said, which does not lie in every folder."""
SPECIAL_SCORE = 0.0


def as_llm_reads_it(text: str) -> str:
    """What a sentence is before it is cut into pieces: composed (NFC) and without invisible characters, as it is for
    the scorer too (corpora/characters.py); every run of whitespace one blank, none at the ends.

    Nothing else is touched: case, punctuation and full-width forms stay (NFKC would change them). What is saved as a
    reference is the raw text. Text that is so already comes out as it went in: all sentences of PHOENIX14T, CSL-Daily
    and How2Sign that were looked at."""
    return " ".join(normalized(text).split())


def characters_of(sentences: Iterable[str]) -> set[str]:
    """All but blanks."""
    return set().union(*map(as_llm_reads_it, sentences)) - {" "}


@dataclass(frozen=True)
class Framing:
    """What lies in framing.json."""

    language: str | None
    start: tuple[int, ...]
    """Ids that decoding begins with (text/families.py)."""


class Tokenizer:
    """A tokenizer of transformers, without its own framing: start and end tokens are added by the batches."""

    def __init__(self, inner: Any, language: str | None, start: tuple[int, ...]):
        """`start` are the ids that decoding begins with (text/families.py)."""
        self.inner = inner
        self.language = language
        self.start = start

    def __len__(self) -> int:
        """One more than the highest id; M2M100 leaves its language codes out of its vocabulary."""
        length: int = max(*self.inner.get_vocab().values(), *self.start) + 1
        return length

    @cached_property
    def pad(self) -> int:
        pad: int = self.inner.pad_token_id
        return pad

    @cached_property
    def eos(self) -> int:
        eos: int = self.inner.eos_token_id
        return eos

    @cached_property
    def mask(self) -> int:
        mask: int = self.inner.mask_token_id
        return mask

    def language_code(self) -> int:
        """Id of the language code. Raises InputError where the tokenizer does not know it."""
        return language_code(self.inner, self.language)

    @property
    def sha256(self) -> str:
        """Over the pieces and their ids."""
        pieces = sorted(self.inner.get_vocab().items())
        return hashlib.sha256(repr(pieces).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Pieces of one sentence, without start, end or language code; the sentence as `as_llm_reads_it` gives it."""
        ids: list[int] = self.inner(as_llm_reads_it(text), add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The sentence; special tokens are left out."""
        text: str = self.inner.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text.strip()

    def starts_word(self, piece: int) -> bool:
        """Whether the piece begins a word (a whitespace-marked piece, of sentencepiece or of BART's bytes)."""
        return str(self.inner.convert_ids_to_tokens(piece)).startswith(("▁", "Ġ"))

    def save(self, folder: Path) -> None:
        self.inner.save_pretrained(folder)
        framing = json.dumps(asdict(Framing(self.language, self.start)))
        (folder / FRAMING_FILE).write_text(framing + "\n", encoding="utf-8")


def load_tokenizer(name: str, language: str | None) -> Tokenizer:
    """From the folder or hub name of a model, or a folder that `Tokenizer.save` wrote. Raises InputError where neither
    has it, or where it wants a language code that is not given."""
    with loading(name):
        inner = load_inner(name)
        saved = Path(name) / FRAMING_FILE
        if saved.is_file():
            framing = read_as(saved, Framing)
            if framing.language == language:
                return Tokenizer(inner, language, framing.start)
        return Tokenizer(inner, language, start_tokens(inner, name, language))


def load_inner(name: str) -> Any:
    """transformers' own tokenizer of a folder or hub name, which runs no code that comes with it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name, trust_remote_code=False)


def require_mbart_language(language: str | None) -> None:
    """Raises InputError unless it is one of MBart's codes, which the small LLMs that are made here use too."""
    from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES

    if language not in FAIRSEQ_LANGUAGE_CODES:
        wrong = "not set" if language is None else f"MBart has no code {language!r}"
        known = ", ".join(FAIRSEQ_LANGUAGE_CODES)
        raise InputError(f"llm.language: {wrong}. Set it, --set llm.language=CODE, to one of {known}.")


def train_tokenizer(
    sentences: Iterable[str], vocabulary: int, language: str | None, folder: Path, characters: str = ""
) -> None:
    """Trains sentencepiece pieces on the sentences and writes them as an MBart tokenizer folder.

    The result holds at most `vocabulary` pieces beside MBart's special tokens and language codes; one for each of the
    `characters` too, which the sentences need not have."""
    import sentencepiece
    from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES, MBartTokenizer

    require_mbart_language(language)
    lines = [folded for sentence in sentences if (folded := as_llm_reads_it(sentence))]
    if not lines:
        raise InputError("llm_pretraining.text: no sentences to train a tokenizer on. Write one sentence a line.")
    least = len(set("".join(lines) + characters) - {" "}) + 4  # "▁" for the blank, <unk>, <s>, </s>
    if least > vocabulary:
        raise InputError(
            f"llm_pretraining.vocabulary {vocabulary}: the text alone has {least} characters. Set it to more."
        )
    model = io.BytesIO()
    logging.getLogger("sentencepiece").setLevel(logging.ERROR)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=vocabulary,
        model_type="unigram",
        character_coverage=1.0,
        required_chars=characters,
        max_sentence_length=max(len(line.encode()) for line in lines) + 1,  # longer ones are left out without a word
        # transformers' MBart tokenizer normalizes nothing; pieces of normalized text would never match.
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [
        (processor.id_to_piece(piece), processor.get_score(piece))
        for piece in range(processor.get_piece_size())
        if not processor.is_control(piece) and not processor.is_unknown(piece)
    ]
    special = [(token, SPECIAL_SCORE) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    codes = [(code, SPECIAL_SCORE) for code in FAIRSEQ_LANGUAGE_CODES]
    tokenizer = MBartTokenizer(
        vocab=[*special, *pieces, *codes, ("<mask>", SPECIAL_SCORE)], src_lang=language, tgt_lang=language
    )
    with replacing(folder) as temporary:
        tokenizer.save_pretrained(temporary)
