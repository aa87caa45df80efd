"""Conversion between sentences and token ids, with the tokenizer of the LLM, which both stages share. Knows no
models."""

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
from slt_cache.corpora.languages import codes_named, labels_of
from slt_cache.errors import InputError
from slt_cache.files import replacing
from slt_cache.reading import read_as, read_object
from slt_cache.text.families import start_tokens
from slt_cache.text.prefixes import prefixes_of
from slt_cache.text.pretrained import loading
from slt_cache.text.sources import source_of
from slt_cache.text.target_start import LanguagePrefix, code_among, codes_of, language_code

PREFIX_FILE = "framing.json"
"""File of the decoder prefix in a saved tokenizer's folder, which may lack the model's config."""
VOCABULARY_FILES = ("tokenizer.json", "*.model", "*.tiktoken", "tekken.json")
"""Patterns of the files of a vocabulary that transformers converts for any class, besides those that a class names
itself."""
SPECIAL_SCORE = 0.0


def as_llm_reads_it(text: str) -> str:
    """Returns the sentence as it is before tokenization: composed (NFC), without invisible characters, as for the
    scorer (corpora/characters.py), whitespace collapsed and stripped.

    Nothing else changes: case, punctuation and full-width forms stay (NFKC would change them), and references are saved
    as raw text. All sampled sentences of PHOENIX14T, CSL-Daily and How2Sign come out unchanged."""
    return " ".join(normalized(text).split())


def characters_of(sentences: Iterable[str]) -> set[str]:
    """Returns all characters of the sentences except whitespace."""
    return set().union(*map(as_llm_reads_it, sentences)) - {" "}


@dataclass(frozen=True)
class DecoderPrefix:
    """Content of framing.json."""

    language: str | None
    start: tuple[int, ...]
    """Ids that decoding begins with (text/families.py)."""
    before: tuple[int, ...] = ()
    """Ids of a decoder-only LLM's prompt before the video (text/prompt.py)."""
    prefixes: tuple[LanguagePrefix, ...] = ()
    """What is read before a sentence in each language; empty unless there are several."""


class Tokenizer:
    """Tokenizer of transformers, without its own special tokens: the batches add start and end tokens."""

    def __init__(
        self,
        inner: Any,
        language: str | None,
        start: tuple[int, ...],
        before: tuple[int, ...] = (),
        prefixes: tuple[LanguagePrefix, ...] = (),
    ):
        """Takes transformers' tokenizer; `start` are the ids of the decoder prefix (text/families.py), `before` those
        of a prompt before the video (text/prompt.py). With several languages each has its own in `prefixes`, and
        `start` is that of the first."""
        self.inner = inner
        self.language = language
        self.start = start
        self.before = before
        self.prefixes = prefixes

    @classmethod
    def of_languages(cls, inner: Any, language: str | None, prefixes: tuple[LanguagePrefix, ...]) -> "Tokenizer":
        return cls(inner, language, prefixes[0].start, prefixes[0].before, prefixes)

    def __len__(self) -> int:
        """Returns the highest id plus one, since M2M100 leaves its language codes out of its vocabulary."""
        starts = (token for prefix in self.prefixes for token in prefix.start)
        length: int = max(*self.inner.get_vocab().values(), *self.start, *starts) + 1
        return length

    @property
    def languages(self) -> tuple[str, ...]:
        """Short names of the languages that it tells apart; empty unless there are several."""
        return tuple(prefix.language for prefix in self.prefixes)

    def rows_of(self, languages: Sequence[str]) -> list[int] | None:
        """Returns the place in `prefixes` of each language; None if there is only one. Raises InputError."""
        if len(self.prefixes) < 2:
            return None
        known = self.languages
        wrong = next((one for one in languages if one not in known), None)
        if wrong is not None:
            what = f"the language {wrong!r}" if wrong else "no language"
            raise InputError(f"a sentence has {what}, but the LLM writes {', '.join(known)}. Name one of these.")
        return [known.index(one) for one in languages]

    def for_light_t(self) -> "Tokenizer":
        """Returns the tokenizer for a Light-T, which tells languages apart by their starts alone: if those of the LLM
        are alike, each language gets an id of its own after the vocabulary, which no label is."""
        if len({prefix.start for prefix in self.prefixes}) == len(self.prefixes):
            return self
        first = len(self)
        own = (LanguagePrefix(one.language, (first + row,)) for row, one in enumerate(self.prefixes))
        return Tokenizer.of_languages(self.inner, self.language, tuple(own))

    def of_language(self, language: str) -> "Tokenizer":
        """Returns the tokenizer of one of its languages. Raises InputError if it is not there."""
        [row] = self.rows_of([language]) or [0]
        code = codes_named(self.language or "").get(language, language)
        return Tokenizer.of_languages(self.inner, code, self.prefixes[row : row + 1])

    @cached_property
    def pad(self) -> int:
        """Id of the padding token, or of the end token if there is none (GPT-2, Llama)."""
        pad: int | None = self.inner.pad_token_id
        return self.eos if pad is None else pad

    @cached_property
    def eos(self) -> int:
        eos: int = self.inner.eos_token_id
        return eos

    @cached_property
    def mask(self) -> int:
        mask: int = self.inner.mask_token_id
        return mask

    def language_code(self, language: str = "") -> int:
        """Returns the id of the language code; of several languages that of `language`, or of the first. Raises
        InputError if the tokenizer does not know it."""
        if len(self.prefixes) > 1:
            codes = codes_of(self.inner, self.inner.name_or_path, self.language or "")
            return language_code(self.inner, codes[language or self.languages[0]])
        return language_code(self.inner, self.language)

    @property
    def sha256(self) -> str:
        """SHA-256 over the tokens and their ids."""
        tokens = sorted(self.inner.get_vocab().items())
        return hashlib.sha256(repr(tokens).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Tokenizes one sentence, after `as_llm_reads_it`, without start, end or language code."""
        ids: list[int] = self.inner(as_llm_reads_it(text), add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the sentence of token ids, without special tokens."""
        text: str = self.inner.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text.strip()

    def starts_word(self, token: int) -> bool:
        """Returns whether the token begins a word (has the whitespace mark of sentencepiece or of BART's bytes)."""
        return str(self.inner.convert_ids_to_tokens(token)).startswith(("▁", "Ġ"))

    def save(self, folder: Path) -> None:
        self.inner.save_pretrained(folder)
        prefix = asdict(DecoderPrefix(self.language, self.start, self.before, self.prefixes))
        # Encoder-decoders of one language keep their file.
        prefix = {name: value for name, value in prefix.items() if value or name not in ("before", "prefixes")}
        (folder / PREFIX_FILE).write_text(json.dumps(prefix) + "\n", encoding="utf-8")


def load_tokenizer(name: str, language: str | None) -> Tokenizer:
    """Loads a tokenizer from the folder or hub name of a model, or from a folder that `Tokenizer.save` wrote. Raises
    InputError if it cannot be found or has no end token, or if a required language code is missing."""
    with loading(name):
        inner = load_inner(name)
        require_end_token(name, inner)
        saved = Path(name) / PREFIX_FILE
        if saved.is_file():
            prefix = read_as(saved, DecoderPrefix)
            if prefix.language == language and (prefix.prefixes or not labels_of(language)):
                return Tokenizer(inner, language, prefix.start, prefix.before, prefix.prefixes)
        return without_prompt(inner, name, language)


def without_prompt(inner: Any, name: str, language: str | None) -> Tokenizer:
    """Returns the tokenizer of a model without a prompt; `inner` is that of transformers. Raises InputError if a
    required language code is missing."""
    if labels_of(language):
        return Tokenizer.of_languages(inner, language, prefixes_of(inner, name, language or ""))
    return Tokenizer(inner, language, start_tokens(inner, name, language))


def load_inner(name: str) -> Any:
    """Loads transformers' own tokenizer of a folder or hub name, without running code that comes with it. Raises
    InputError for a folder without a vocabulary."""
    from transformers import AutoTokenizer

    source, options = source_of(name)
    try:
        inner = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
    except Exception:  # each class fails in its own way
        _require_vocabulary(Path(name), VOCABULARY_FILES)
        config = Path(name) / "tokenizer_config.json"
        if config.is_file() and read_object(config).get("eos_token", "") is None:
            raise _no_end_token(name) from None
        raise
    own = [file for file in inner.vocab_files_names.values() if file != "tokenizer_config.json"]
    if own:  # ByT5 has none
        _require_vocabulary(Path(name), (*VOCABULARY_FILES, *own))
    return inner


def require_end_token(name: str, inner: Any) -> None:
    """Raises InputError for a tokenizer of transformers without end token."""
    if inner.eos_token_id is None:
        raise _no_end_token(name)


def _no_end_token(name: str) -> InputError:
    return InputError(
        f"llm.name {name}: its tokenizer has no end token, so generation would never stop. Set one in its "
        'tokenizer_config.json, such as "eos_token": "</s>".'
    )


def _require_vocabulary(folder: Path, files: Sequence[str]) -> None:
    """Raises InputError for a model folder without any of a tokenizer's files: some classes would be made without
    tokens."""
    if folder.is_dir() and not any(any(folder.glob(file)) for file in files):
        raise InputError(
            f"llm.name {folder}: its tokenizer has no vocabulary (none of {', '.join(dict.fromkeys(files))}). Add the "
            "tokenizer files of the same download."
        )


def require_mbart_language(language: str | None) -> str:
    """Returns MBart's code of a language, or of the first of several; the small LLMs made here use its codes too.
    Raises InputError for a language without one."""
    from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES

    codes = [language] if not labels_of(language) else list(codes_named(language or "").values())
    found = [None if code is None else code_among(FAIRSEQ_LANGUAGE_CODES, code) for code in codes]
    for code, one in zip(codes, found, strict=True):
        if one is None:
            wrong = "not set" if code is None else f"MBart has no code {code!r}"
            known = ", ".join(FAIRSEQ_LANGUAGE_CODES)
            raise InputError(f"llm.language: {wrong}. Set it, --set llm.language=CODE, to one of {known}.")
    return str(found[0])


def train_tokenizer(
    sentences: Iterable[str], vocabulary: int, language: str | None, folder: Path, characters: str = ""
) -> None:
    """Trains a sentencepiece vocabulary on the sentences and writes it as an MBart tokenizer folder.

    It holds at most `vocabulary` tokens besides MBart's special tokens and language codes, including one for each of
    `characters`, which need not occur in the sentences."""
    import sentencepiece
    from transformers.models.mbart.tokenization_mbart import FAIRSEQ_LANGUAGE_CODES, MBartTokenizer

    code = require_mbart_language(language)
    lines = [line for sentence in sentences if (line := as_llm_reads_it(sentence))]
    if not lines:
        raise InputError("llm_pretraining.text: no sentences to train a tokenizer on. Write one sentence a line.")
    least = len(set("".join(lines) + characters) - {" "}) + 4  # "▁" for whitespace, <unk>, <s>, </s>
    if least > vocabulary:
        raise InputError(
            f"llm_pretraining.vocabulary {vocabulary}: too small: the text alone needs {least} tokens. Increase it."
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
        max_sentence_length=max(len(line.encode()) for line in lines) + 1,  # longer ones are silently dropped
        # transformers' MBart tokenizer normalizes nothing; tokens of normalized text would never match.
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    tokens = [
        (processor.id_to_piece(token), processor.get_score(token))
        for token in range(processor.get_piece_size())
        if not processor.is_control(token) and not processor.is_unknown(token)
    ]
    special = [(token, SPECIAL_SCORE) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    codes = [(code, SPECIAL_SCORE) for code in FAIRSEQ_LANGUAGE_CODES]
    tokenizer = MBartTokenizer(
        vocab=[*special, *tokens, *codes, ("<mask>", SPECIAL_SCORE)], src_lang=code, tgt_lang=code
    )
    with replacing(folder) as temporary:
        tokenizer.save_pretrained(temporary)
