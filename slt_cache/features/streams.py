"""Several feature caches of the same clips, one per encoder, as one split: streams, joined by clip id. Knows nothing of
videos or models, and needs no torch."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from slt_cache.corpora.base import Origin
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.spec import IMPORTED, FeatureSpec

SHARED = ("views", "view_seed", "augmentation")
"""Fields of the spec that streams must share: a view of a clip is the same in all."""


class StreamSplit(Mapping[str, tuple[np.ndarray, ...]]):
    """Mapping from clip ids to the features of each stream, [N, C] each, where N and C may differ between streams; of
    view 0. Has the clips that are in all streams, in the order of the first one, and the members of a FeatureCache that
    a training reads."""

    def __init__(self, streams: Mapping[str, FeatureCache]):
        """Joins the same split of several caches, by name. Raises InputError if they have no clip in common, or another
        sentence or other times for one; or if their views are not the same."""
        self.streams = dict(streams)
        self._first, *others = self.streams.values()
        self.split, self.path = self._first.split, self._first.path
        for name, other in self.streams.items():
            self._require_like_first(name, other)
        shared = set(self._first.ids).intersection(*(other.ids for other in others))
        self.ids = [clip_id for clip_id in self._first.ids if clip_id in shared]
        if not self.ids:
            raise InputError(
                f"{', '.join(map(str, self.paths))} ({self.split}): no clip is in all streams. Clips are joined by "
                "their ids; use caches of the same corpus."
            )
        self._places = [_places(stream, self.ids) for stream in self.streams.values()]

    def _require_like_first(self, name: str, other: FeatureCache) -> None:
        first_name, first = next(iter(self.streams.items()))
        asked = {field: getattr(first.spec, field) for field in SHARED}
        if different := other.spec.differences(asked, here=name, there=first_name):
            raise InputError(
                f"{first.path} and {other.path} ({self.split}) hold other views ({'; '.join(different)}). Extract both "
                "with the same features.views and augmentation."
            )
        for what, values in (("another sentence", _texts), ("other times", _times)):
            known = values(first)
            for clip_id, value in values(other).items():
                if value and known.get(clip_id) and known[clip_id] != value:
                    raise InputError(
                        f"{other.path} ({self.split}): clip {clip_id!r} has {what} than in {first.path} ({value!r}, "
                        f"there {known[clip_id]!r}). Extract or import both from the same clips."
                    )

    @property
    def paths(self) -> list[Path]:
        return [stream.path for stream in self.streams.values()]

    @property
    def missing_in(self) -> dict[str, list[str]]:
        """Clips that a stream lacks and another one has, for each stream that lacks any."""
        everything = dict.fromkeys(clip_id for stream in self.streams.values() for clip_id in stream.ids)
        lacking = {
            name: [clip_id for clip_id in everything if clip_id not in stream] for name, stream in self.streams.items()
        }
        return {name: ids for name, ids in lacking.items() if ids}

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __getitem__(self, clip_id: str) -> tuple[np.ndarray, ...]:
        """Returns view 0 of each stream, [N, C], read-only. Raises KeyError for a clip that is not in all streams."""
        return self.row(self._index_of[clip_id] * self.views)

    def row(self, row: int) -> tuple[np.ndarray, ...]:
        """Returns the features of each stream, [N, C]; clip number i has the rows from i * views on. Raises
        SltCacheError like FeatureCache."""
        index, view = divmod(row, self.views)
        return tuple(
            stream.row(int(places[index]) * self.views + view)
            for stream, places in zip(self.streams.values(), self._places, strict=True)
        )

    @cached_property
    def _index_of(self) -> dict[str, int]:
        return dict(zip(self.ids, range(len(self.ids)), strict=True))

    @property
    def views(self) -> int:
        return self._first.views

    @property
    def dim(self) -> tuple[int, ...]:
        """C of each stream."""
        return tuple(stream.dim for stream in self.streams.values())

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """Spec of each stream."""
        return {name: stream.spec for name, stream in self.streams.items()}

    @property
    def spec(self) -> FeatureSpec:
        """Spec of the first stream."""
        return self._first.spec

    @property
    def is_imported(self) -> bool:
        """Whether all streams were made elsewhere."""
        return all(spec.level == IMPORTED for spec in self.specs.values())

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the first stream."""
        return self._first.attributes

    @cached_property
    def lengths(self) -> np.ndarray:
        """N of each stream in each row, int64 [rows, S]."""
        return np.stack(
            [
                stream.lengths.reshape(-1, self.views)[places].reshape(-1)
                for stream, places in zip(self.streams.values(), self._places, strict=True)
            ],
            axis=1,
        )

    @property
    def steps(self) -> np.ndarray:
        """int64, N of each clip in view 0, all streams together."""
        summed: np.ndarray = self.lengths[:: self.views].sum(1)
        return summed

    @cached_property
    def row_ids(self) -> list[str]:
        return [clip_id for clip_id in self.ids for _ in range(self.views)]

    @cached_property
    def texts(self) -> list[str]:
        """Sentence of each clip."""
        return [self._first.texts[place] for place in self._places[0]]

    @cached_property
    def origins(self) -> list[Origin]:
        """Corpus and language of each clip."""
        return [self._first.origins[place] for place in self._places[0]]

    @cached_property
    def sources(self) -> list[tuple[str, ...]]:
        """Fingerprint of the source of each clip in each stream."""
        of_streams = [
            [stream.sources[place] for place in places]
            for stream, places in zip(self.streams.values(), self._places, strict=True)
        ]
        return list(zip(*of_streams, strict=True))

    @property
    def languages(self) -> dict[str, str]:
        """Language of each clip's sentence, by id; empty if the manifest did not say."""
        found = zip(self.ids, self.origins, strict=True)
        return {clip_id: origin.language for clip_id, origin in found if origin.language}

    @property
    def clips_sha256(self) -> str:
        """Hash of the joined clips, and of the clips of each stream."""
        of_streams = [stream.clips_sha256 for stream in self.streams.values()]
        return hashlib.sha256(repr((self.ids, of_streams)).encode()).hexdigest()


class ClipSubset(Mapping[str, Any]):
    """Mapping from clip ids to features like that of the whole split, but with only some of its clips, and with the
    members that a training reads."""

    def __init__(self, whole: FeatureCache | StreamSplit, chosen: Collection[str]):
        self.whole = whole
        self.split, self.path, self.attributes = whole.split, whole.path, whole.attributes
        self.views, self.dim, self.spec, self.is_imported = whole.views, whole.dim, whole.spec, whole.is_imported
        self._places = [place for place, clip_id in enumerate(whole.ids) if clip_id in chosen]
        self._rows = [place * self.views + view for place in self._places for view in range(self.views)]
        self.ids = [whole.ids[place] for place in self._places]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __getitem__(self, clip_id: str) -> Any:
        """Returns view 0 of a clip as the whole split does. Raises KeyError for a clip that was not chosen."""
        return self.row(self._index_of[clip_id] * self.views)

    def row(self, row: int) -> Any:
        """Returns a row as the whole split does; clip number i has the rows from i * views on."""
        return self.whole.row(self._rows[row])

    @cached_property
    def _index_of(self) -> dict[str, int]:
        return dict(zip(self.ids, range(len(self.ids)), strict=True))

    @property
    def lengths(self) -> np.ndarray:
        """N of each row, of each stream if there are several."""
        return self.whole.lengths[self._rows]

    @property
    def steps(self) -> np.ndarray:
        """int64, N of each clip in view 0."""
        return self.whole.steps[self._places]

    @cached_property
    def row_ids(self) -> list[str]:
        return [self.whole.row_ids[row] for row in self._rows]

    @cached_property
    def texts(self) -> list[str]:
        """Sentence of each clip."""
        return [self.whole.texts[place] for place in self._places]

    @cached_property
    def origins(self) -> list[Origin]:
        """Corpus and language of each clip."""
        return [self.whole.origins[place] for place in self._places]

    @cached_property
    def sources(self) -> list[Any]:
        """Fingerprint of the source of each clip."""
        return [self.whole.sources[place] for place in self._places]

    @property
    def languages(self) -> dict[str, str]:
        """Language of each clip's sentence, by id; empty if the manifest did not say."""
        return {clip_id: name for clip_id, name in self.whole.languages.items() if clip_id in self._index_of}

    @property
    def clips_sha256(self) -> str:
        """Hash of the chosen clips and of the whole split."""
        return hashlib.sha256(repr((self.ids, self.whole.clips_sha256)).encode()).hexdigest()


CachedSplit = FeatureCache | StreamSplit | ClipSubset
"""Split that a model reads: of one cache, of one for each of its streams, or some clips of it."""


def whole_of(split: CachedSplit) -> FeatureCache | StreamSplit:
    """Returns the split with all its clips."""
    return split.whole if isinstance(split, ClipSubset) else split


def listed_ids(split: FeatureCache | StreamSplit) -> set[str]:
    """Returns the ids of all clips that the manifest lists, also of those without features."""
    caches = [split] if isinstance(split, FeatureCache) else split.streams.values()
    return {clip_id for one in caches for clip_id in (*one.ids, *(failure.clip_id for failure in one.missing))}


class ClipSplit(Protocol):
    """What search reads of a split, in a cache or not."""

    @property
    def ids(self) -> list[str]: ...
    @property
    def texts(self) -> list[str]: ...
    @property
    def languages(self) -> Mapping[str, str]: ...
    @property
    def views(self) -> int: ...
    @property
    def steps(self) -> np.ndarray: ...
    def __len__(self) -> int: ...
    def row(self, row: int, /) -> np.ndarray | tuple[np.ndarray, ...]: ...


def _texts(stream: FeatureCache) -> dict[str, str]:
    return dict(zip(stream.ids, stream.texts, strict=True))


def _times(stream: FeatureCache) -> dict[str, str]:
    """Returns start and end of each clip; empty if unknown."""
    return {clip_id: source.partition(" ")[2] for clip_id, source in zip(stream.ids, stream.sources, strict=True)}


def _places(stream: FeatureCache, ids: Sequence[str]) -> np.ndarray:
    """Returns the number of each clip in a stream."""
    number = dict(zip(stream.ids, range(len(stream)), strict=True))
    return np.array([number[clip_id] for clip_id in ids])
