"""Measures the grounding of a model on a split: its sentences from altered features, and the evidence of the video for
each token of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slt_cache.config import GenerationConfig
from slt_cache.decoding.search import Hypothesis, decode_cached
from slt_cache.distributed.processes import gather_object, shard
from slt_cache.features.streams import ClipSplit
from slt_cache.grounding.alterations import ALTERATIONS, SWAP, AlteredSplit, can_swap
from slt_cache.grounding.evidence import Reader
from slt_cache.metrics.grounding import SentenceEvidence
from slt_cache.progress import log, progress_counter

AT_ONCE = 64
"""Clips between two updates of the progress bar; the unit that processes share."""


@dataclass(frozen=True)
class GroundedClip:
    """Grounding of one clip."""

    clip_id: str
    reference: str
    hypothesis: str
    evidence: SentenceEvidence
    altered: dict[str, str]
    """Sentence by alteration."""
    swapped_with: str | None = None
    """Id of the clip whose features it had in `swap`; None if no other clip has another sentence."""

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.clip_id,
            "reference": self.reference,
            "hypothesis": self.hypothesis,
            **self.evidence.to_json(),
            "altered": self.altered,
            "swapped_with": self.swapped_with,
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "GroundedClip":
        """Returns the clip that `to_json` describes. Raises KeyError or TypeError for anything else."""
        return cls(
            saved["id"],
            saved["reference"],
            saved["hypothesis"],
            SentenceEvidence.from_json(saved),
            saved["altered"],
            saved["swapped_with"],
        )


def measure_grounding(
    reader: Reader, split: ClipSplit, hypotheses: Sequence[Hypothesis], generation: GenerationConfig
) -> list[GroundedClip]:
    """Measures the grounding of each clip's best hypothesis, in the order of the split. With several processes each
    works on its shard, and all get all clips."""
    sentences = [one.texts[0] for one in hypotheses]
    evidence = _evidence(reader, split, sentences)
    altered: dict[str, list[str]] = {}
    swapped: list[str | None] = [None] * len(sentences)
    for alteration in ALTERATIONS:
        if alteration == SWAP and not can_swap(split):
            log("swap: left out, since all clips have the same sentence")
            continue
        changed = AlteredSplit(split, alteration, reader.blank)
        with progress_counter(f"translating, {alteration}", len(sentences), 0) as show:
            found = decode_cached(reader.translator, changed, reader.tokenizer, generation, show)
        altered[alteration] = [one.texts[0] for one in found]
        if alteration == SWAP:
            swapped = [split.ids[source] for source in changed.sources]
    return [
        GroundedClip(
            clip_id, reference, sentence, one, {name: texts[place] for name, texts in altered.items()}, swapped[place]
        )
        for place, (clip_id, reference, sentence, one) in enumerate(
            zip(split.ids, split.texts, sentences, evidence, strict=True)
        )
    ]


def _evidence(reader: Reader, split: ClipSplit, sentences: Sequence[str]) -> list[SentenceEvidence]:
    mine = shard(range(len(sentences)), AT_ONCE)

    def work() -> list[tuple[int, SentenceEvidence]]:
        found: list[tuple[int, SentenceEvidence]] = []
        with progress_counter("evidence of the video", len(mine), 0) as show:
            for first in range(0, len(mine), AT_ONCE):
                part = mine[first : first + AT_ONCE]
                clips = [split.row(place * split.views) for place in part]
                languages = [split.languages.get(split.ids[place], "") for place in part]
                evidence = reader.evidence(clips, [sentences[place] for place in part], languages)
                found += zip(part, evidence, strict=True)
                show(len(found))
        return found

    return [one for _, one in sorted(gather_object(work), key=lambda pair: pair[0])]
