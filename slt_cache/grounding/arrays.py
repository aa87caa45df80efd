"""Arrays of one clip for analyses elsewhere: attention, evidence of the video and hidden states, as .npz with the names
of their axes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slt_cache.batches.targets import make_targets
from slt_cache.decoding.attention import as_tensors, segment_words, sentence_room, text_of, token_attentions
from slt_cache.encoders.packing import ClipArrays, packed
from slt_cache.files import replacing
from slt_cache.grounding.evidence import Reader
from slt_cache.metrics.grounding import SentenceEvidence

AXES = {
    "attention": ("token", "step"),
    "log_probability": ("token",),
    "without_video": ("token",),
    "drop": ("token",),
    "content": ("token",),
    "decided": ("token",),
    "word_of_token": ("token",),
    "token": ("token",),
    "word": ("word",),
    "token_states": ("token", "width"),
    "video_states": ("position", "width"),
    "reliability": (),
    "clip_id": (),
    "sentence": (),
    "reference": (),
}
"""Names of the axes of each array. `step` are the steps N of the clip's features, of several streams those of the
first; `position` are the embeddings of the video that the LLM reads."""


def clip_arrays(
    reader: Reader, clips: Sequence[ClipArrays], sentences: Sequence[str], languages: Sequence[str] = ()
) -> list[dict[str, np.ndarray | str | float]]:
    """Computes the arrays of AXES for a sentence of each clip, but for `clip_id` and `reference`. `languages` are those
    of the sentences, if the translator writes several.

    `attention` is float32 [L, N], the cross-attention, or the self-attention onto the video's positions of a
    decoder-only LLM, mean over heads and layers; the states are float32, of the last layer: those of the video are the
    encoder's, or the LLM's own at its positions, those of a token the ones that predict it."""
    translator, tokenizer = reader.translator, reader.tokenizer
    ids = [tokenizer.encode(one)[: sentence_room(translator)] for one in sentences]
    attention = token_attentions(translator, tokenizer, clips, ids, languages=languages)
    evidence = reader.evidence(clips, sentences, languages)
    found = zip(sentences, ids, clips, attention, evidence, languages or [""] * len(ids), strict=True)
    return [
        {
            "sentence": sentence,
            "token": np.array([text_of(tokenizer, [token]) for token in tokens], np.str_),
            "attention": weights,
            "reliability": one.reliability,
            **_of_tokens(one, [span for _, span in segment_words(tokenizer, tokens)], len(tokens)),
            **_states(reader, clip, tokens, language),
        }
        for sentence, tokens, clip, weights, one, language in found
    ]


def _of_tokens(evidence: SentenceEvidence, spans: Sequence[slice], tokens: int) -> dict[str, np.ndarray]:
    """Returns the evidence of each token; `spans` are those of the words. Tokens of no word, such as whitespace alone,
    have word -1 and NaN."""
    word_of = np.full(tokens, -1, np.int32)
    seen, blind = np.full(tokens, np.nan, np.float32), np.full(tokens, np.nan, np.float32)
    content, decided = np.zeros(tokens, bool), np.zeros(tokens, bool)
    for number, (word, span) in enumerate(zip(evidence.words, spans, strict=True)):
        word_of[span], content[span], decided[span] = number, word.content, word.is_decided
        seen[span], blind[span] = word.with_video, word.without_video
    return {
        "word": np.array([word.text for word in evidence.words], np.str_),
        "word_of_token": word_of,
        "log_probability": seen,
        "without_video": blind,
        "drop": seen - blind,
        "content": content,
        "decided": decided,
    }


@torch.no_grad()
def _states(reader: Reader, clip: ClipArrays, ids: list[int], language: str) -> dict[str, np.ndarray]:
    """Returns the hidden states of one clip, which is not padded."""
    translator, tokenizer = reader.translator, reader.tokenizer
    device = next(translator.parameters()).device
    features, lengths = packed([as_tensors(clip)])
    embeds, mask = translator.embed(*translator.truncated(features.to(device), lengths.to(device)))
    targets = make_targets([ids], tokenizer, [language]).to(device)
    video, tokens = translator.kind.states(embeds, mask, targets.decoder_input_ids, targets.languages)
    first = len(tokenizer.start) - 1  # the position that reads the last start token predicts the first token
    return {
        "video_states": video[0].float().cpu().numpy(),
        "token_states": tokens[0, first : first + len(ids)].float().cpu().numpy(),
    }


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Writes the arrays of a clip with the names of their axes, as JSON in the array `axes`; complete or not at all."""
    axes = json.dumps({name: AXES[name] for name in arrays})
    named: dict[str, Any] = {name: np.asarray(value) for name, value in {"axes": axes, **arrays}.items()}
    with replacing(path, sweep=False) as temporary, temporary.open("wb") as file:
        np.savez(file, **named)


def axes_of(path: Path) -> dict[str, list[str]]:
    """Returns the names of the axes of each array of a file."""
    with np.load(path, allow_pickle=False) as found:
        axes: dict[str, list[str]] = json.loads(str(found["axes"]))
    return axes
