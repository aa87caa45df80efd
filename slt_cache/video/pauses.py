"""Finds the pauses of a signer: how much moves in a video, sample by sample, in; the segments between the pauses out.
Opens nothing.

Signers rest their hands between sentences, longer than within them (Grosjean and Lane, "Pauses and syntax in American
Sign Language", Cognition 5, 1977). So a pause is a stretch of at least PAUSE seconds in which nothing moves, and a
segment is what lies between two pauses, from its first movement to its last:

1. A sample moves if its movement exceeds the largest of three limits: what is hardly visible, NOISE times the noise of
   the video, and SMALL times its usual movement. So a video sets its own limits. A cut moves, too.
2. A movement of at most BLIP seconds in the middle of stillness is none: the key frame of a codec, a blink, or a cut
   between two still pictures.
3. A stretch without movement is a pause if it lasts PAUSE seconds. At the beginning and at the end of the video, too, a
   shorter one belongs to the segment.
4. A movement of less than SHORTEST seconds between two pauses is no segment, unless the video itself is shorter.
5. A segment begins LEAD seconds before its first movement, as hands set off slowly, unless the picture changes at once.
6. A picture to which the video cuts, such as a black one, belongs to what follows."""

from dataclasses import dataclass

import numpy as np

PAUSE = 0.4
"""Seconds."""
SHORTEST = 0.2
"""Seconds."""
BLIP = 0.1
"""Seconds."""
AROUND_BLIP = 0.2
"""Seconds without movement on both sides of a blip."""
LEAD = 0.08
"""Seconds."""
NOISE = 5.0
"""Largest movement that noise causes, in medians of the noise: of normal noise, the mean of the largest hundredth of
the differences less their median is 3.3 of these."""
SMALL = 0.15
"""Share of the usual movement below which nothing moves."""
USUAL = 75
"""Percentile of the movements above the other limits that is the usual one."""
QUIET = 10
"""Percent of the samples; their noise is that of the camera, as little else moves."""
CUT = 8.0
"""Levels of 255 by which half of the picture changes only at a cut."""


@dataclass(frozen=True)
class Movement:
    """What moves from each sample of a video to the next, all samples equally far apart."""

    moved: np.ndarray
    """Movement from the sample before, float [n], 0 for the first one."""
    everywhere: np.ndarray
    """Change of most of the picture from the sample before, in levels of 255, float [n]: noise, or a cut."""
    visible: float
    """Smallest movement that counts, in its unit."""
    rate: float
    """Samples per second."""

    @property
    def is_cut(self) -> np.ndarray:
        """Whether the video cuts to each sample, bool [n]."""
        return self.everywhere > CUT

    def limit(self) -> float:
        """Returns the movement above which a sample moves."""
        noise = self.everywhere[(self.everywhere > 0) & ~self.is_cut]  # a repeated frame has none
        base = max(self.visible, NOISE * float(np.percentile(noise, QUIET)) if len(noise) else 0.0)
        larger = self.moved[self.moved > base]
        return max(base, SMALL * float(np.percentile(larger, USUAL))) if len(larger) else base


def segments(movement: Movement, pause: float = PAUSE) -> list[tuple[int, int]]:
    """Returns the first sample of each segment, and the one after its last; pauses last at least `pause` seconds."""
    rate, count = movement.rate, len(movement.moved)
    moves = _without_blips((movement.moved > movement.limit()) | movement.is_cut, rate)
    pauses = [(first, end) for first, end in _runs(~moves) if (end - first + (first > 0)) / rate >= pause]
    ends = [first for first, _ in pauses] + [count]
    found = zip([0] + [end for _, end in pauses], ends, strict=True)
    shortest = min(SHORTEST * rate, count)
    kept = [(first, end) for first, end in found if end - first >= shortest]
    lead = round(LEAD * rate)
    begins = [first - lead * int(_sets_off(moves, movement.is_cut, first)) for first, _ in kept]
    ends = [end - int(end < count and movement.is_cut[end - 1]) for _, end in kept]
    return list(zip(begins, ends, strict=True))


def _sets_off(moves: np.ndarray, is_cut: np.ndarray, first: int) -> bool:
    """Returns whether movement begins gradually after a pause, not by a change to another still picture or a cut."""
    return first > 0 and not is_cut[first] and bool(moves[first : first + 2].all())


def _without_blips(moves: np.ndarray, rate: float) -> np.ndarray:
    """Returns which samples move, bool [n], without short movements in the middle of stillness."""
    found, still = moves.copy(), [(first, end) for first, end in _runs(~moves)]
    long = {place for first, end in still if end - first >= AROUND_BLIP * rate for place in (first, end)}
    long |= {0, 1, len(moves)}  # before and after the video
    for first, end in _runs(moves):
        if end - first <= BLIP * rate and first in long and end in long:
            found[first:end] = False
    return found


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Returns where each stretch of true flags begins, and where it ends."""
    borders = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return [(int(first), int(end)) for first, end in borders.reshape(-1, 2)]
