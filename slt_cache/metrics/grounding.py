"""Defines how much of a sentence the video decided, and measures how well that predicts a good sentence. Needs no
model: it takes log-probabilities of tokens with and without the video (README.md, grounding)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slt_cache.metrics.content_words import is_content_word

DECIDED = math.log(2)
"""Nats; the video decided a word if it made the word at least twice as probable."""
LITTLE = 0.5
"""The video decided little of a sentence if it decided less than this share of its content."""


DECIMALS = 4
"""Decimals of a log-probability; what is computed from a saved one is the same."""


@dataclass(frozen=True)
class WordEvidence:
    """Evidence of the video for one word of a sentence."""

    text: str
    tokens: tuple[str, ...]
    with_video: tuple[float, ...]
    """Log-probability of each token, given the tokens before it and the video."""
    without_video: tuple[float, ...]
    """The same with the video blanked."""
    content: bool
    """Whether it is a content word."""

    @property
    def drops(self) -> tuple[float, ...]:
        """Nats that the log-probability of each token drops without the video."""
        return tuple(seen - blind for seen, blind in zip(self.with_video, self.without_video, strict=True))

    @property
    def drop(self) -> float:
        """Nats that the log-probability of the whole word drops without the video: the sum over its tokens, so that it
        does not depend on how a tokenizer segments the word."""
        return sum(self.drops)

    @property
    def is_decided(self) -> bool:
        return self.drop >= DECIDED


@dataclass(frozen=True)
class SentenceEvidence:
    """Evidence of the video for one sentence."""

    words: tuple[WordEvidence, ...]
    end: float
    """Log-probability of the end of the sentence."""

    @property
    def content(self) -> list[WordEvidence]:
        return [word for word in self.words if word.content]

    @property
    def reliability(self) -> float:
        """Share of the content tokens whose word the video decided, 0..1; 0 for a sentence without content."""
        counts = [(len(word.tokens), word.is_decided) for word in self.content]
        return sum(count for count, decided in counts if decided) / max(sum(count for count, _ in counts), 1)

    @property
    def mean_drop(self) -> float:
        """Mean drop of the content words in nats; 0 for a sentence without content."""
        return sum(word.drop for word in self.content) / max(len(self.content), 1)

    @property
    def explained(self) -> float:
        """Share of the information of the content words that the video supplied, at most 1: their drops, divided by
        their surprise without the video; 0 for a sentence without content."""
        surprise = -sum(sum(word.without_video) for word in self.content)
        return sum(word.drop for word in self.content) / surprise if surprise > 0 else 0.0

    @property
    def log_probability(self) -> float:
        """Mean log-probability of the tokens with the video, including the end of the sentence."""
        found = [one for word in self.words for one in word.with_video]
        return (sum(found) + self.end) / (len(found) + 1)

    @property
    def tokens(self) -> int:
        """Number of tokens, including the end of the sentence."""
        return sum(len(word.tokens) for word in self.words) + 1

    @property
    def warning(self) -> str:
        """Plain warning if the video decided little; empty otherwise."""
        if self.reliability >= LITTLE:
            return ""
        if not self.content:
            return "the sentence has no content words, so the video decided nothing in it"
        decided = sum(word.is_decided for word in self.content)
        return (
            f"the video decided {decided} of {len(self.content)} content words; the rest is what the language model "
            "would say without it"
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the figures of the sentence, its words and their tokens, rounded."""
        return {
            "reliability": round(self.reliability, DECIMALS),
            "explained": round(self.explained, DECIMALS),
            "mean_drop": round(self.mean_drop, DECIMALS),
            "log_probability": round(self.log_probability, DECIMALS),
            "end_log_probability": self.end,
            "words": [
                {
                    "word": word.text,
                    "content": word.content,
                    "drop": round(word.drop, DECIMALS),
                    "decided": word.is_decided,
                    "tokens": [
                        {"token": token, "log_probability": seen, "without_video": blind}
                        for token, seen, blind in zip(word.tokens, word.with_video, word.without_video, strict=True)
                    ],
                }
                for word in self.words
            ],
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "SentenceEvidence":
        """Returns the evidence that `to_json` describes. Raises KeyError or TypeError for anything else."""
        words = tuple(
            WordEvidence(
                one["word"],
                tuple(token["token"] for token in one["tokens"]),
                tuple(token["log_probability"] for token in one["tokens"]),
                tuple(token["without_video"] for token in one["tokens"]),
                one["content"],
            )
            for one in saved["words"]
        )
        return cls(words, saved["end_log_probability"])


def make_evidence(
    words: Sequence[tuple[str, slice]],
    tokens: Sequence[str],
    with_video: Sequence[float],
    without_video: Sequence[float],
    language: str | None,
) -> SentenceEvidence:
    """Makes the evidence of a sentence of L tokens from its words (text and span of tokens) and the log-probabilities
    of its tokens and its end, L + 1 each; `language` says which words are content."""
    found = []
    for text, span in words:
        content = is_content_word(text, language)
        scores = (_rounded(with_video[span]), _rounded(without_video[span]))
        found.append(WordEvidence(text, tuple(tokens[span]), *scores, content))
    return SentenceEvidence(tuple(found), round(with_video[-1], DECIMALS))


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, DECIMALS) for value in values)
