"""Shades of the words of a sentence, by what the video adds to their probability."""

import math

from slt_cache.metrics.grounding import DECIDED, WordEvidence

SHADES = (DECIDED, math.log(8), math.log(64))
"""Drops in nats from which a word has the next darker shade: the video makes it 2, 8 or 64 times as probable."""


def shade_of(word: WordEvidence) -> int:
    """Returns the shade of a word, 0 (not decided by the video) to 3."""
    return sum(word.drop >= least for least in SHADES)
