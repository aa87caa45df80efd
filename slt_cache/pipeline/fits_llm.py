"""What can be told of a run's LLM before a stage is trained: whether it knows the language, and whether its positions
suffice for every sentence. Asks no network, and imports what takes long only if it is needed."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from slt_cache.config import SMALL_MBART_POSITIONS, Config
from slt_cache.corpora.base import Clip, of_split
from slt_cache.corpora.registry import language_code
from slt_cache.errors import InputError
from slt_cache.files import scratch_folder
from slt_cache.runs.run import SMALL_LLMS, SMALL_MBART, Run
from slt_cache.runs.scoring import preset_of

ENDLESS = ("t5", "mt5", "umt5", "m2m_100", "nllb-moe")
"""Families (model_type) whose positions do not end."""
WITH_CODES = ("mbart", "m2m_100", "nllb-moe")
"""Families whose decoder begins with a language code."""
_LIKE_MBART = re.compile("[a-z]{2}_[A-Z]{2}")
"""Codes such as de_DE. Whether MBart has it is asked of transformers, at the latest when a training starts."""
START = 2
"""Tokens at most that a target begins with (text/framing.py)."""


def language_problem(config: Config) -> str | None:
    """Why the language of the sentences, as it is set, will not do; None if it will."""
    try:
        if config.llm.name in SMALL_LLMS and not _LIKE_MBART.fullmatch(language_code(config) or ""):
            from slt_cache.text.tokenizer import require_mbart_language

            require_mbart_language(language_code(config))
        if (
            language_code(config) is None
            and config.llm.name not in SMALL_LLMS
            and _model_type(config.llm.name) in WITH_CODES
        ):
            return f"llm.language: not set, and {config.llm.name} wants one. Set it, --set llm.language=CODE."
        preset_of(config)
    except InputError as error:
        return str(error)
    return None


def too_long(run: Run, clips: Sequence[Clip]) -> list[str]:
    """Names the clips whose sentence has more pieces than the LLM has positions, and lines of a pre-training text that
    have, with as many."""
    positions = positions_of(run.config.llm.name)
    if positions is None:
        return []
    sentences = [_Sentence(f"{clip.id} ({clip.split})", clip.text, _is_noised(run, clip)) for clip in clips]
    if run.config.llm_pretraining.text is not None and _is_pretrained(run):
        from slt_cache.pipeline.prepare_llm import pretraining_text

        lines = enumerate(pretraining_text(run, clips), start=1)
        sentences += [_Sentence(f"llm_pretraining.text, sentence {number}", text, True) for number, text in lines]
    mask_ratio = run.config.llm_pretraining.mask_ratio
    long = [one for one in sentences if one.needed(one.most_pieces, START, mask_ratio) > positions]
    tokenizer = _tokenizer(run, clips) if long else None
    if tokenizer is None:
        return []
    found = [(one, len(tokenizer.encode(one.text))) for one in long]
    return [
        f"{one.place}: {pieces:,} pieces, too many for the LLM's {positions:,} positions"
        for one, pieces in found
        if one.needed(pieces, len(tokenizer.start), mask_ratio) > positions
    ]


@dataclass(frozen=True)
class _Sentence:
    place: str
    text: str
    noised: bool
    """Whether an LLM is pre-trained on it, which adds masks."""

    @property
    def most_pieces(self) -> int:
        """No tokenizer makes more pieces of a sentence than it has bytes, and one for its beginning."""
        return len(self.text.encode()) + 1

    def needed(self, pieces: int, start: int, mask_ratio: float) -> int:
        """Positions that it takes (batches/noisy_text.py, batches/feature_batches.py)."""
        if self.noised:
            return pieces + round(mask_ratio * len(self.text.split())) + 2
        return pieces + start


def _is_pretrained(run: Run) -> bool:
    return run.config.llm.name == SMALL_MBART and run.config.llm.pretrained


def _is_noised(run: Run, clip: Clip) -> bool:
    return clip.split == "train" and _is_pretrained(run) and run.config.llm_pretraining.text is None


def positions_of(name: str) -> int | None:
    """Positions of an LLM; None if they do not end, or if nothing here tells."""
    if name == SMALL_MBART:
        return SMALL_MBART_POSITIONS
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
    from slt_cache.pipeline.prepare_llm import pretraining_text
    from slt_cache.text.tokenizer import characters_of, load_tokenizer, train_tokenizer

    llm, language = run.config.llm, language_code(run.config)
    try:
        if llm.name not in SMALL_LLMS:
            return load_tokenizer(llm.name, language)
        sentences = pretraining_text(run, clips)
        alone = characters_of(clip.text for clip in of_split(clips, "train")) - characters_of(sentences)
        with scratch_folder() as folder:
            made = folder / "tokenizer"
            vocabulary = run.config.llm_pretraining.vocabulary
            train_tokenizer(sentences, vocabulary, language, made, "".join(sorted(alone)))
            return load_tokenizer(str(made), language)
    except InputError:
        return None
