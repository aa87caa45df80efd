"""Prompts of decoder-only LLMs: the tokens before and after the video. Knows no models."""

from typing import Any

from slt_cache.config.llm import LANGUAGE, VIDEO, LlmConfig
from slt_cache.corpora.languages import english_name, labels_of
from slt_cache.errors import InputError
from slt_cache.text.families import is_decoder_only, is_made_here
from slt_cache.text.sources import local_config
from slt_cache.text.target_start import LanguagePrefix, start_of_text
from slt_cache.text.tokenizer import Tokenizer

DATE = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}\n"
"""Date for chat templates that tell the LLM today's, in their language; Llama 3's names this one. A prompt must not
change overnight: a training would resume with another one, and the trimmed vocabulary may lack its tokens."""


def has_prompt(llm: LlmConfig) -> bool:
    """Returns whether the settings have a prompt besides the video. Raises InputError for an encoder-decoder, which
    takes none, as far as its config is on this machine."""
    if llm.prompt == VIDEO and not llm.chat_template:
        return False
    own = is_made_here(llm.source)
    config = None if own else local_config(llm.source)
    if own or (config is not None and not is_decoder_only(llm.source, config)):
        raise InputError(
            f"llm.prompt: {llm.source} is an encoder-decoder, which takes no prompt. Omit llm.prompt and "
            "llm.chat_template, or use a decoder-only LLM."
        )
    return True


def prompt_texts(inner: Any, llm: LlmConfig, language: str | None = None) -> tuple[str, str]:
    """Returns the prompt before and after the video, for transformers' tokenizer; `language` is the code or short name
    of what is written. Raises InputError if the tokenizer has no chat template and the settings ask for it, or if the
    prompt names an unknown language."""
    prompt = llm.prompt
    if LANGUAGE in prompt and language is None:
        raise InputError(f"llm.prompt: it names {LANGUAGE}, but llm.language is not set. Set it, such as de_DE.")
    prompt = prompt.replace(LANGUAGE, english_name(language or ""))
    before, _, after = (_as_turn(inner, prompt) if llm.chat_template else prompt).partition(VIDEO)
    return before, after


def all_prompt_texts(inner: Any, llm: LlmConfig, language: str | None) -> tuple[str, ...]:
    """Returns the texts of the prompts in all languages that a setting names."""
    labels = labels_of(language) or (language,)
    return tuple(dict.fromkeys(text for label in labels for text in prompt_texts(inner, llm, label)))


def with_prompt(tokenizer: Tokenizer, llm: LlmConfig) -> Tokenizer:
    """Returns the LLM's tokenizer with the prompt of the settings. The sentence follows the text after the video, if
    any. The prompt begins as the tokenizer, or its chat template, begins every text. With several languages each has
    its own prompt.

    Raises InputError for a tokenizer without chat template, for a prompt with unknown tokens, and for one that does not
    say which of several languages to write."""
    inner = tokenizer.inner
    if not tokenizer.prefixes:
        before, after = _prompt_ids(inner, llm, tokenizer.language)
        return Tokenizer(inner, tokenizer.language, after or tokenizer.start, before)
    require_language_in(llm, tokenizer)
    prefixes = []
    for label in tokenizer.languages:
        before, after = _prompt_ids(inner, llm, label)
        *others, last = after or tokenizer.start
        prefixes.append(LanguagePrefix(label, (last,), before, tuple(others)))
    return Tokenizer.of_languages(inner, tokenizer.language, tuple(prefixes))


def require_language_in(llm: LlmConfig, tokenizer: Tokenizer) -> None:
    """Raises InputError if the prompt of a decoder-only LLM does not say which of several languages to write."""
    framed = {(one.before, one.after, one.start) for one in tokenizer.prefixes}
    if LANGUAGE not in llm.prompt and len(framed) == 1:
        raise InputError(
            f"llm.prompt: the sentences are in {', '.join(tokenizer.languages)}, and the prompt does not say which to "
            f"write. Name it: --set 'llm.prompt={VIDEO} {LANGUAGE}:'"
        )


def shown_prompts(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Returns the prompt of a decoder-only LLM's tokenizer with all its tokens, in each language that has its own; none
    if the sentence follows the video itself."""
    inner, bare = tokenizer.inner, start_of_text(tokenizer.inner, "", None)
    framed = [(one.before, (*one.after, *one.start)) for one in tokenizer.prefixes] or [
        (tokenizer.before, tokenizer.start)
    ]
    texts = [f"{inner.decode(list(before))}{VIDEO}{inner.decode(list(after))}" for before, after in framed]
    return tuple(dict.fromkeys(text for text, one in zip(texts, framed, strict=True) if one != ((), bare)))


def _prompt_ids(inner: Any, llm: LlmConfig, language: str | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the ids of the prompt before and after the video."""
    before, after = (_ids(inner, text, llm) for text in prompt_texts(inner, llm, language))
    return (*(() if llm.chat_template else _beginning(inner)), *before), after


def _as_turn(inner: Any, prompt: str) -> str:
    """Returns the prompt as a user turn, up to where the answer begins. Raises InputError."""
    if getattr(inner, "chat_template", None) is None:
        raise InputError(
            "llm.chat_template: the LLM's tokenizer has no chat template. Set it to false; llm.prompt is then used as "
            "it is."
        )
    turn = [{"role": "user", "content": prompt}]
    try:
        dated = {"chat_template": DATE + inner.get_chat_template()}
        text = str(inner.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, **dated))
    except Exception as error:  # a template is a program, and raises what it likes
        raise InputError(
            f"llm.chat_template: the tokenizer's template fails ({str(error)[:160]}). Set it to false."
        ) from error
    if text.count(VIDEO) != 1:
        raise InputError(f"llm.chat_template: the tokenizer's template omits or repeats {VIDEO}. Set it to false.")
    return text


def _beginning(inner: Any) -> tuple[int, ...]:
    """Returns the tokens that the tokenizer puts before every text, if any."""
    framed, plain = inner("a")["input_ids"], inner("a", add_special_tokens=False)["input_ids"]
    return tuple(framed[: framed.index(plain[0])])


def _ids(inner: Any, text: str, llm: LlmConfig) -> tuple[int, ...]:
    """Tokenizes a part of the prompt. Raises InputError for unknown tokens."""
    ids = tuple(inner(text, add_special_tokens=False)["input_ids"]) if text else ()
    # In many LLMs the unknown token is also the end token, which chat templates name.
    if inner.unk_token is not None and ids.count(inner.unk_token_id) > text.count(inner.unk_token):
        or_whole = ", or set llm.trim=false" if llm.trim and llm.init_from is None else ""
        raise InputError(
            f"llm.prompt: the LLM's tokenizer does not know all characters of {text!r}. Use other words{or_whole}."
        )
    return ids
