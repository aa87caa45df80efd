"""Computes the evidence of the video for each token of a sentence: its log-probability, teacher-forced on the sentence,
with the features of the clip and with blank ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from slt_cache.batches.targets import make_targets
from slt_cache.decoding.attention import as_tensors, segment_words, sentence_room, text_of
from slt_cache.encoders.packing import ClipArrays, ClipTensors, lengths_of, packed
from slt_cache.metrics.grounding import SentenceEvidence, make_evidence
from slt_cache.models.translators import SignTranslator
from slt_cache.text.tokenizer import Tokenizer

BATCH_SIZE = 8
"""Clips at once: logits are [B, L, V], a third of a gigabyte for a vocabulary of 262,144."""


@dataclass(frozen=True)
class Reader:
    """What reads features and sentences: a translator with its tokenizer, its blank step and the language that it
    writes."""

    translator: SignTranslator
    tokenizer: Tokenizer
    blank: ClipArrays
    """Features of a blank step, [C], or of each stream."""
    language: str | None
    """Code of the language, for content words; None if unknown."""

    def evidence(
        self, clips: Sequence[ClipArrays | ClipTensors], sentences: Sequence[str], languages: Sequence[str] = ()
    ) -> list[SentenceEvidence]:
        """Computes the evidence for a sentence of each clip, [N, C]; `languages` are those of the sentences, if the
        translator writes several. Sentences are tokenized again, possibly differently than search segmented them, and
        truncated to the LLM's positions."""
        ids = [self.tokenizer.encode(one)[: sentence_room(self.translator)] for one in sentences]
        with_video = log_probabilities(self.translator, self.tokenizer, clips, ids, languages)
        blanked = list(map(self._blanked, clips))
        without = log_probabilities(self.translator, self.tokenizer, blanked, ids, languages)
        return [
            make_evidence(
                segment_words(self.tokenizer, one),
                [text_of(self.tokenizer, [token]) for token in one],
                seen.tolist(),
                blind.tolist(),
                language or self.language,
            )
            for one, seen, blind, language in zip(ids, with_video, without, languages or [""] * len(ids), strict=True)
        ]

    def _blanked(self, clip: ClipArrays | ClipTensors) -> ClipArrays:
        """Returns a clip of the same length with nothing but blank steps."""
        if isinstance(self.blank, tuple):
            return tuple(_repeated(blank, len(stream)) for stream, blank in zip(clip, self.blank, strict=True))
        return _repeated(self.blank, len(clip))


def _repeated(blank: np.ndarray, steps: int) -> np.ndarray:
    return np.broadcast_to(blank, (steps, len(blank)))


@torch.no_grad()
def log_probabilities(
    translator: SignTranslator,
    tokenizer: Tokenizer,
    clips: Sequence[ClipArrays | ClipTensors],
    ids: Sequence[list[int]],
    languages: Sequence[str] = (),
    batch_size: int = BATCH_SIZE,
) -> list[np.ndarray]:
    """Returns the log-probability of each token of each clip's sentence and of its end, float32 [L + 1], given the
    tokens before it; clips of similar length share a batch."""
    translator.eval()
    device = next(translator.parameters()).device
    found: dict[int, np.ndarray] = {}
    order = sorted(range(len(ids)), key=lambda clip: lengths_of(clips[clip]))
    for first in range(0, len(order), batch_size):
        batch = order[first : first + batch_size]
        features, lengths = packed([as_tensors(clips[clip]) for clip in batch])
        named = [languages[clip] for clip in batch] if languages else ()
        targets = make_targets([ids[clip] for clip in batch], tokenizer, named).to(device)
        read = translator.truncated(features.to(device), lengths.to(device))
        logits = translator(*read, targets.decoder_input_ids, targets.languages).float()  # [B, L, V]
        wanted = logits.gather(2, targets.labels.clamp(min=0).unsqueeze(2)).squeeze(2)
        scores = (wanted - logits.logsumexp(2)).cpu().numpy()
        begin = len(tokenizer.start) - 1  # the position that reads the last start token predicts the first token
        for row, clip in zip(scores, batch, strict=True):
            found[clip] = row[begin : begin + len(ids[clip]) + 1]
    return [found[clip] for clip in range(len(ids))]
