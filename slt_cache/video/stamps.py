"""Time stamps of frames as a file stores them -> ascending ones; those that repeat, are missing or run backwards are
repaired from their neighbours. Opens nothing."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

RESTART = 32
"""Average frames by which stamps that are stored in order of decoding may run backwards; more is another clock."""


@dataclass(frozen=True)
class Stamps:
    """When frames are shown."""

    times: np.ndarray | None
    """float64 [n], ascending, in units of the stream; None where the stamps do not tell."""
    own: np.ndarray
    """bool [n], those by which a frame can be told from all others, as the file has them."""
    repaired: int
    """How many are not the file's own."""


def repair(stored: Sequence[int | None], reordered: bool) -> Stamps:
    """`stored` are the stamps of the frames as they are stored. `reordered`: frames may be shown in another order than
    that, so that the stamps alone tell it."""
    known = np.array([time for time in stored if time is not None], np.float64)
    if len(known) * 2 <= len(stored) or (reordered and _restarts(known)):
        return _useless(len(stored))
    places = np.flatnonzero([time is not None for time in stored])
    if reordered:
        known = np.sort(known)
        places = _places_by_time(known, len(stored))
    if len(known) == len(stored) and np.all(np.diff(known) > 0):
        return Stamps(known, np.ones(len(known), bool), 0)
    kept = _rising(known)
    if kept.sum() * 2 <= len(stored):
        return _useless(len(stored))
    sound, own = np.zeros(len(stored), bool), np.zeros(len(stored), bool)
    sound[places[kept]] = True
    values, counts = np.unique(known, return_counts=True)
    own[places[kept]] = np.isin(known[kept], values[counts == 1])
    return Stamps(_filled(sound, known[kept]), own, int(len(stored) - sound.sum()))


def _useless(count: int) -> Stamps:
    return Stamps(None, np.zeros(count, bool), count)


def _restarts(stored: np.ndarray) -> bool:
    """Whether the clock begins again in the middle, as where two recordings were put one after the other."""
    if len(stored) < 2:
        return False
    step = (stored.max() - stored.min()) / (len(stored) - 1)
    backwards = np.maximum.accumulate(stored) - stored
    return bool(np.count_nonzero(backwards > RESTART * step) > 1)


def _rising(times: np.ndarray) -> np.ndarray:
    """bool [n]: the longest choice of them that ascends. Of equal ones in a row that is kept which leaves the others
    more room."""
    tails: list[float] = []
    ends: list[int] = []
    before = np.full(len(times), -1)
    for number, time in enumerate(times.tolist()):
        place = bisect_left(tails, time)
        before[number] = ends[place - 1] if place else -1
        tails[place : place + 1] = [time]
        ends[place : place + 1] = [number]
    kept = np.zeros(len(times), bool)
    number = ends[-1] if ends else -1
    while number >= 0:
        kept[number] = True
        number = int(before[number])
    _choose_of_equal(times, kept)
    return kept


def _choose_of_equal(times: np.ndarray, kept: np.ndarray) -> None:
    """Moves the kept one of a row of equal stamps to its first or its last place."""
    borders = np.flatnonzero(np.diff(times, prepend=np.nan, append=np.nan) != 0)
    for first, behind in pairwise(borders.tolist()):
        row = slice(first, behind)
        if behind - first < 2 or not kept[row].any():
            continue
        ahead = times[behind] - times[first] if behind < len(times) else np.inf
        past = times[first] - times[first - 1] if first else -np.inf
        kept[row] = False
        kept[first if ahead >= past else behind - 1] = True


def _places_by_time(times: np.ndarray, count: int) -> np.ndarray:
    """int64: where the known stamps, in order of time, come among all. The missing ones go into the widest gaps."""
    missing = np.zeros(len(times) + 1, np.int64)
    steps = np.diff(times)
    for _ in range(count - len(times)):
        missing[1 + int(np.argmax(steps / (missing[1:-1] + 1)))] += 1
    return np.arange(len(times)) + np.cumsum(missing[:-1])


def _filled(sound: np.ndarray, times: np.ndarray) -> np.ndarray:
    """What is not sound lies evenly between its neighbours; before the first and after the last, by the usual step."""
    places = np.flatnonzero(sound)
    every = np.arange(len(sound))
    filled = np.interp(every, places, times)
    step = float(np.median(np.diff(times) / np.diff(places))) if len(places) > 1 else 0.0
    early, late = every < places[0], every > places[-1]
    filled[early] += (every[early] - places[0]) * step
    filled[late] += (every[late] - places[-1]) * step
    return filled
