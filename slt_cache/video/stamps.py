"""Repairs time stamps of frames: those that repeat, are missing or run backwards are interpolated from their
neighbours. Opens nothing."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

REORDERED = 16
"""Largest distance between storage order and display order of a frame (H.264 and H.265); a time stamp that moves it
farther is wrong."""
ROOMY = 0.75
"""Usual steps required on either side of a frame without a time stamp if it is put between two others."""


@dataclass(frozen=True)
class Stamps:
    """Display times of frames."""

    times: np.ndarray | None
    """Display times, float64 [n], ascending, in units of the stream; None if unknown."""
    own: np.ndarray
    """Which times are the file's own and identify their frame, bool [n]."""
    repaired: int
    """Number of times that are not the file's own."""


def repair(stored: Sequence[int | None], reordered: bool) -> Stamps:
    """Repairs the time stamps `stored`, in the order of storage. `reordered`: only the stamps say in which order frames
    are shown."""
    times = np.array([np.nan if time is None else time for time in stored], np.float64)
    sound = ~np.isnan(times)
    if reordered:
        sound[sound] = _within_reach(times[sound])
    if sound.sum() * 2 <= len(times):
        return _useless(len(times))
    places, known = _by_time(times, sound) if reordered else (np.flatnonzero(sound), times[sound])
    if len(known) == len(times) and np.all(np.diff(known) > 0):
        return Stamps(known, np.ones(len(known), bool), 0)
    kept = _rising(known)
    if kept.sum() * 2 <= len(times):
        return _useless(len(times))
    sound, own = np.zeros(len(times), bool), np.zeros(len(times), bool)
    sound[places[kept]] = True
    values, counts = np.unique(times, return_counts=True)
    own[places[kept]] = np.isin(known[kept], values[counts == 1])
    return Stamps(_filled(sound, known[kept]), own, int(len(times) - sound.sum()))


def _useless(count: int) -> Stamps:
    return Stamps(None, np.zeros(count, bool), count)


def _within_reach(times: np.ndarray) -> np.ndarray:
    """Returns, bool [n], which stamps in the order of storage move a frame no farther than an encoder does; of equal
    ones only the one that moves least."""
    sound = np.ones(len(times), bool)
    while sound.sum() * 2 > len(times):
        distance = _moved(times[sound])
        farthest = distance.max()
        if farthest <= REORDERED:
            break
        sound[np.flatnonzero(sound)[distance > max(REORDERED, farthest / 2)]] = False
    left = np.flatnonzero(sound)
    nearest_first = left[np.argsort(_moved(times[left]), kind="stable")]
    _, firsts = np.unique(times[nearest_first], return_index=True)
    sound[:] = False
    sound[nearest_first[firsts]] = True
    return sound


def _moved(times: np.ndarray) -> np.ndarray:
    """Returns, int64 [n], by how many places sorting moves each stamp."""
    return abs(np.argsort(np.argsort(times, kind="stable")) - np.arange(len(times)))


def _rising(times: np.ndarray) -> np.ndarray:
    """Returns, bool [n], the longest ascending subsequence. Of consecutive equal stamps the one is kept that leaves
    more room for the others."""
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
    """Moves the kept one of consecutive equal stamps to the first or the last of them."""
    borders = np.flatnonzero(np.diff(times, prepend=np.nan, append=np.nan) != 0)
    for first, end in pairwise(borders.tolist()):
        row = slice(first, end)
        if end - first < 2 or not kept[row].any():
            continue
        gap_after = times[end] - times[first] if end < len(times) else np.inf
        gap_before = times[first] - times[first - 1] if first else -np.inf
        kept[row] = False
        kept[first if gap_after >= gap_before else end - 1] = True


def _by_time(stored: np.ndarray, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the places of the sound stamps among all frames, and these stamps sorted. A frame without one goes into
    the widest gap near its place of storage; if all are narrow, before the first or after the last one nearby. A frame
    that repeats another's stamp goes next to it, unless a gap elsewhere shows that a frame is missing there."""
    times, reach = np.sort(stored[sound]), int(_moved(stored[sound]).max(initial=0))
    steps, last = np.diff(times), len(times)
    usual, most = np.quantile(steps, (0.5, 0.9)) if len(steps) else (0.0, 0.0)
    missing = np.zeros(last + 1, np.int64)
    for number in np.flatnonzero(~sound):
        place, twin = int(sound[:number].sum()), int(np.searchsorted(times, stored[number]))
        first, end = max(place - reach, 0), min(place + reach, last)
        near, least = range(max(first, 1), min(end, last - 1) + 1), usual
        repeats = twin < last and times[twin] == stored[number] and abs(twin - place) <= 2 * reach
        if repeats:
            next_to = range(max(twin, 1), min(twin + 1, last - 1) + 1)
            place, least = twin + 1, most
            if _roomiest(steps, missing, next_to)[0] >= ROOMY * usual:
                near, least = next_to, usual
        room, gap = _roomiest(steps, missing, near)
        if room >= ROOMY * least:
            place = gap
        elif not repeats and (first == 0 or end == last):
            place = 0 if first == 0 and (end < last or 2 * place < last) else last
        missing[place] += 1
    return np.arange(last) + np.cumsum(missing[:-1]), times


def _roomiest(steps: np.ndarray, missing: np.ndarray, gaps: range) -> tuple[float, int]:
    """Finds the gap with the largest distance between frames after one more is put there; returns distance and gap."""
    rooms = [(float(steps[gap - 1] / (missing[gap] + 2)), gap) for gap in gaps]
    return max(rooms, key=lambda one: one[0], default=(-1.0, 0))


def _filled(sound: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Interpolates times that are not sound between their neighbours, and extrapolates them by the usual step."""
    places = np.flatnonzero(sound)
    every = np.arange(len(sound))
    filled: np.ndarray = np.interp(every, places, times)
    step = float(np.median(np.diff(times) / np.diff(places))) if len(places) > 1 else 0.0
    early, late = every < places[0], every > places[-1]
    filled[early] += (every[early] - places[0]) * step
    filled[late] += (every[late] - places[-1]) * step
    return filled
