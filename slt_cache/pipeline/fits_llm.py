"""What can be told of a run's LLM before a stage is trained: whether it knows the language, and whether its positions
suffice for every sentence. Asks no network, and imports what takes long only if it is needed."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from slt_cache.config import Config
from slt_cache.corpora.clips import Clip, of_split
from slt_cache.errors import InputError
from slt_cache.pipeline.run import SMALL_LLMS, SMALL_MBART, Run
from slt_cache.pipeline.scoring import preset_of

ENDLESS = ("t5", "mt5", "umt5", "m2m_100", "nllb-moe")
"""Families (model_type) whose positions do not end."""
WITH_CODES = ("mbart", "m2m_100", "nllb-moe")
"""Families whose decoder begins with a language code."""
MOST_BYTES_A_PIECE_MAY_LACK = 8
"""No tokenizer makes more pieces of a sentence than it has bytes, and these for start and end."""


def language_problem(config: Config) -> str | None:
    """Why the language of the sentences, as it is set, will not do; None if it will."""
    try:
        if config.llm.name in SMALL_LLMS:
            from slt_cache.text.tokenizer import require_mbart_language

            require_mbart_language(config.language_code)
        elif config.language_code is None and _model_type(config.llm.name) in WITH_CODES:
            return f"llm.language: not set, and {config.llm.name} wants one. Set it, --set llm.language=CODE."
        preset_of(config)
    except InputError as error:
        return str(error)
    return None


def too_long(run: Run, clips: Sequence[Clip]) -> list[tuple[Clip, str]]:
    """Clips whose sentence has more pieces than the LLM has positions, and how many of each."""
    positions = _positions(run.config.llm.name)
    if positions is None:
        return []
    long = [clip for clip in clips if len(clip.text.encode()) + MOST_BYTES_A_PIECE_MAY_LACK > positions * _room(run)]
    if not long:
        return []
    tokenizer = _tokenizer(run, clips)
    if tokenizer is None:
        return []
    found: list[tuple[Clip, str]] = []
    for clip in long:
        pieces = len(tokenizer.encode(clip.text))
        if _needed(run, clip, pieces, len(tokenizer.start)) > positions:
            found.append((clip, f"{pieces:,} pieces, too many for the LLM's {positions:,} positions"))
    return found


def _room(run: Run) -> float:
    """Noise adds masks, so that even fewer bytes may be too many."""
    return 1 / (1 + run.config.llm_pretraining.mask_ratio) if run.config.llm.name == SMALL_MBART else 1.0


def _needed(run: Run, clip: Clip, pieces: int, start: int) -> int:
    """Positions that a sentence takes; one that the LLM is pre-trained on takes more, with the masks of the noise."""
    config = run.config
    pretrained_on = clip.split == "train" and config.llm.name == SMALL_MBART and config.llm.pretrained
    if pretrained_on and config.llm_pretraining.text is None:
        return pieces + round(config.llm_pretraining.mask_ratio * len(clip.text.split())) + 2
    return pieces + start


def _positions(name: str) -> int | None:
    """None if they do not end, or if nothing here tells."""
    if name == SMALL_MBART:
        from slt_cache.models.small_llm import MAX_POSITIONS

        return MAX_POSITIONS
    if name in SMALL_LLMS or _model_type(name) in (None, *ENDLESS):
        return None
    return getattr(_config(name), "max_position_embeddings", None)


def _model_type(name: str) -> str | None:
    return getattr(_config(name), "model_type", None)


def _config(name: str) -> Any:
    """The LLM's config, from its folder or from what was downloaded before; None if it is neither."""
    from transformers import AutoConfig

    with suppress(OSError, ValueError):
        return AutoConfig.from_pretrained(name, local_files_only=True, trust_remote_code=False)
    return None


def _tokenizer(run: Run, clips: Sequence[Clip]) -> Any:
    """The run's tokenizer, or one as it will be trained; None if it cannot be had here."""
    from slt_cache.pipeline.language import pretraining_text
    from slt_cache.text.tokenizer import characters_of, load_tokenizer, train_tokenizer

    llm, language = run.config.llm, run.config.language_code
    try:
        if llm.name not in SMALL_LLMS:
            return load_tokenizer(llm.name, language)
        sentences = pretraining_text(run, clips)
        alone = characters_of(clip.text for clip in of_split(clips, "train")) - characters_of(sentences)
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "tokenizer"
            vocabulary = run.config.llm_pretraining.vocabulary
            train_tokenizer(sentences, vocabulary, language, made, "".join(sorted(alone)))
            return load_tokenizer(str(made), language)
    except InputError:
        return None
