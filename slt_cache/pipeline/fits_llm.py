"""Checks of a run's LLM before a stage is trained: whether it knows the language, and has positions for every sentence.
Needs no network, and imports slow modules only when needed."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from slt_cache.config import Config
from slt_cache.corpora.base import Clip, of_split
from slt_cache.corpora.languages import labels_of
from slt_cache.corpora.registry import language_code
from slt_cache.errors import InputError
from slt_cache.files import scratch_folder
from slt_cache.runs.run import Run
from slt_cache.runs.scoring import preset_of
from slt_cache.text.families import family_of_config, is_decoder_only, is_made_here, small_family, small_positions
from slt_cache.text.sources import local_config

_LIKE_MBART = re.compile("[a-z]{2}_[A-Z]{2}")
"""Pattern of codes such as de_DE. transformers is asked whether MBart has one, at the latest when a training starts."""
START = 2
"""Largest number of tokens in a decoder prefix (text/target_start.py)."""


def language_problem(config: Config) -> str | None:
    """Returns why the language setting is unusable; None if it is usable."""
    try:
        language, own = language_code(config), is_made_here(config.llm.source)
        if own and not _LIKE_MBART.fullmatch(language or ""):
            from slt_cache.text.tokenizer import require_mbart_language

            require_mbart_language(language)
        if language is None and not own and _wants_language(config.llm.source):
            return f"llm.language: not set, but {config.llm.source} needs one. Set it, --set llm.language=CODE."
        preset_of(config)
        if labels_of(language) and local_config(config.llm.source) is not None:
            from slt_cache.text.tokenizer import load_tokenizer

            load_tokenizer(config.llm.source, language)
    except InputError as error:
        return str(error)
    return None


def _wants_language(name: str) -> bool:
    family = family_of_config(local_config(name))
    return family is not None and family.wants_language


def too_long(run: Run, clips: Sequence[Clip]) -> list[str]:
    """Returns messages naming the clips, and lines of the pre-training text, with more tokens than the LLM has
    positions."""
    room = room_of(run.config.llm.source)
    if room is None:
        return []
    sentences: Iterable[_Sentence] = (
        _Sentence(f"{clip.id} ({clip.split})", clip.text, _is_noised(run, clip), room) for clip in clips
    )
    if run.config.llm_pretraining.text is not None and run.pretrains_llm:
        from slt_cache.pipeline.llm_tokenizer import pretraining_text

        lines = enumerate(pretraining_text(run, clips), start=1)
        noised = small_family(run.config.llm.name) is not None
        alone = Room(room.positions)
        text = (_Sentence(f"llm_pretraining.text, sentence {number}", one, noised, alone) for number, one in lines)
        sentences = chain(sentences, text)
    mask_ratio = run.config.llm_pretraining.mask_ratio
    long = [one for one in sentences if not one.fits(one.most_tokens, START, mask_ratio)]
    tokenizer = _tokenizer(run, clips) if long else None
    if tokenizer is None:
        return []
    found = [(one, len(tokenizer.encode(one.text))) for one in long]
    return [
        f"{one.place}: {tokens:,} tokens, too many for the {one.room.name}"
        for one, tokens in found
        if not one.fits(tokens, len(tokenizer.start), mask_ratio)
    ]


@dataclass(frozen=True)
class Room:
    """Positions of an LLM for a clip."""

    positions: int
    """Number of all its positions."""
    reserved: int | None = None
    """Number of those that a decoder-only LLM reserves for the sentence, besides the decoder prefix
    (models/llm/decoder_only.py); None if video and sentence have the same number each."""

    @property
    def name(self) -> str:
        if self.reserved is None:
            return f"LLM's {self.positions:,} positions"
        return f"{self.reserved:,} of the LLM's {self.positions:,} positions that are reserved for it"

    @property
    def steps(self) -> int:
        """Largest number of steps, if there is no prompt."""
        return self.positions if self.reserved is None else self.positions - self.reserved - 1

    def of_target(self, start: int) -> int:
        """Returns the largest number of tokens, `start` of the decoder prefix included."""
        return self.positions if self.reserved is None else self.reserved + start


@dataclass(frozen=True)
class _Sentence:
    place: str
    text: str
    noised: bool
    """Whether an LLM is pre-trained on it, which adds masks."""
    room: Room

    @property
    def most_tokens(self) -> int:
        """Upper bound of the number of tokens: one per byte, and one for the beginning."""
        return len(self.text.encode()) + 1

    def fits(self, tokens: int, start: int, mask_ratio: float) -> bool:
        """Returns whether there are positions enough (batches/denoising.py, batches/features.py)."""
        if self.noised:
            return tokens + round(mask_ratio * len(self.text.split())) + 2 <= self.room.positions
        return tokens + start <= self.room.of_target(start)


def _is_noised(run: Run, clip: Clip) -> bool:
    small = small_family(run.config.llm.name) is not None and run.pretrains_llm
    return clip.split == "train" and small and run.config.llm_pretraining.text is None


def room_of(name: str) -> Room | None:
    """Returns the positions of an LLM for a clip; None if unlimited or unknown."""
    positions = positions_of(name)
    if positions is None:
        return None
    config = None if small_family(name) is not None else local_config(name)
    if config is None or not is_decoder_only(name, config):
        return Room(positions)
    from slt_cache.models.llm.decoder_only import reserved_for_sentence

    return Room(positions, reserved_for_sentence(positions))


def positions_of(name: str) -> int | None:
    """Returns the number of positions of an LLM; None if unlimited or unknown."""
    if is_made_here(name):
        return small_positions(name)
    config = local_config(name)
    family = family_of_config(config)
    if config is not None and is_decoder_only(name, config):
        import torch
        from transformers import AutoModelForCausalLM

        from slt_cache.models.llm.decoder_only import limited_positions

        with torch.device("meta"):
            return limited_positions(AutoModelForCausalLM.from_config(config, trust_remote_code=False))
    return None if family is not None and family.endless else getattr(config, "max_position_embeddings", None)


def _tokenizer(run: Run, clips: Sequence[Clip]) -> Any:
    """Returns the run's tokenizer, or one trained the same way; None if it is unavailable."""
    from slt_cache.pipeline.llm_tokenizer import pretraining_text
    from slt_cache.text.tokenizer import characters_of, load_tokenizer, train_tokenizer

    llm, language = run.config.llm, language_code(run.config)
    try:
        if not is_made_here(llm.source):
            return load_tokenizer(llm.source, language)
        sentences = pretraining_text(run, clips)
        alone = characters_of(clip.text for clip in of_split(clips, "train")) - characters_of(sentences)
        with scratch_folder() as folder:
            made = folder / "tokenizer"
            vocabulary = run.config.llm_pretraining.vocabulary
            train_tokenizer(sentences, vocabulary, language, made, "".join(sorted(alone)))
            return load_tokenizer(str(made), language)
    except InputError:
        return None
