"""Reuses features of earlier extractions for clips that have not changed: from the split of a finished cache, and from
part files of another manifest. Reads no video."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from slt_cache.corpora.base import Clip
from slt_cache.corpora.fingerprint import times_of
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.layout import SplitMetadata
from slt_cache.features.parts import ClipFeatures

UNREADABLE = (InputError, OSError, KeyError, ValueError, TypeError, RuntimeError)


class KeptFeatures:
    """Index of existing features by clip id and source."""

    def __init__(self, metadata: SplitMetadata, files: Sequence[Path]):
        """Indexes those of the `files` that hold the split with the same spec; later files take precedence."""
        self.split = metadata.split
        self.of_other_manifests = False
        """Whether some features were extracted with another manifest."""
        self._places: dict[tuple[str, str], tuple[Path, int]] = {}
        self._source_of: dict[str, str] = {}
        self._opened: FeatureCache | None = None
        for path in files:
            try:
                cache = FeatureCache(path, metadata.split)
                if cache.spec == metadata.spec:
                    self._add(cache)
                    self.of_other_manifests |= cache.metadata != metadata
            except UNREADABLE:
                continue  # damaged features are extracted again

    def _add(self, cache: FeatureCache) -> None:
        for number, (clip_id, source) in enumerate(zip(cache.ids, cache.sources, strict=True)):
            if source:
                self._places[clip_id, source] = cache.path, number * cache.views
                self._source_of[clip_id] = source

    @property
    def ids(self) -> set[str]:
        """Ids of all clips with features, changed or not."""
        return set(self._source_of)

    def holds(self, clip: Clip, source: str) -> bool:
        """Returns whether there are features of this clip from this source."""
        return self._key(clip, source) in self._places

    def rows(self, clip: Clip, source: str) -> list[ClipFeatures] | None:
        """Returns all views of a clip with its current sentence and language; None if there are none, or if one is
        damaged."""
        key = self._key(clip, source)
        if key not in self._places:
            return None
        path, first = self._places[key]
        try:
            return list(self._rows(clip, key[1], self._open(path), first))
        except (SltCacheError, *UNREADABLE):
            return None

    def _key(self, clip: Clip, source: str) -> tuple[str, str]:
        """Returns the key of a clip; a video that no longer exists counts as unchanged."""
        known = self._source_of.get(clip.id, "")
        if not source and known.partition(" ")[2] == times_of(clip):
            return clip.id, known
        return clip.id, source

    def _open(self, path: Path) -> FeatureCache:
        """Opens one file at a time: each map is an open file, and a process may have only about a thousand."""
        if self._opened is None or self._opened.path != path:
            self._opened = FeatureCache(path, self.split)
        return self._opened

    def _rows(self, clip: Clip, source: str, cache: FeatureCache, first: int) -> Iterator[ClipFeatures]:
        num_frames, fps = cache.column("num_frames"), cache.column("fps")
        for row in range(first, first + cache.views):
            frames = int(num_frames[row]), float(fps[row]), cache.row(row)
            yield ClipFeatures(clip.id, clip.text, *frames, source, clip.origin)
