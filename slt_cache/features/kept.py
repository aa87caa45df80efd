"""Features that earlier extractions have left, for clips that have not changed since: in the split of a finished cache,
and in part files of another manifest. Reads no video."""

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
    """Where the features of each clip lie, by its id and what they were made of."""

    def __init__(self, metadata: SplitMetadata, files: Sequence[Path]):
        """Takes those of the `files` that hold the split with features of the same spec; of two with the same clip, the
        later one."""
        self.split = metadata.split
        self.of_other_manifests = False
        """Whether some were extracted with another manifest."""
        self._places: dict[tuple[str, str], tuple[Path, int]] = {}
        self._source_of: dict[str, str] = {}
        self._opened: FeatureCache | None = None
        for path in files:
            try:
                held = FeatureCache(path, metadata.split)
                if held.spec == metadata.spec:
                    self._add(held)
                    self.of_other_manifests |= held.metadata != metadata
            except UNREADABLE:
                continue  # what is damaged is extracted again

    def _add(self, held: FeatureCache) -> None:
        for number, (clip_id, source) in enumerate(zip(held.ids, held.sources, strict=True)):
            if source:
                self._places[clip_id, source] = held.path, number * held.views
                self._source_of[clip_id] = source

    @property
    def ids(self) -> set[str]:
        """Every clip that has features here, whether it is still the same or not."""
        return set(self._source_of)

    def holds(self, clip: Clip, source: str) -> bool:
        """Whether there are features of this clip made of this source."""
        return self._key(clip, source) in self._places

    def rows(self, clip: Clip, source: str) -> list[ClipFeatures] | None:
        """All views of a clip with the sentence that it has now; None if there are none, or damaged ones."""
        key = self._key(clip, source)
        if key not in self._places:
            return None
        path, first = self._places[key]
        try:
            return list(self._rows(clip, key[1], self._open(path), first))
        except (SltCacheError, *UNREADABLE):
            return None

    def _key(self, clip: Clip, source: str) -> tuple[str, str]:
        """A video that is gone has not changed."""
        known = self._source_of.get(clip.id, "")
        if not source and known.partition(" ")[2] == times_of(clip):
            return clip.id, known
        return clip.id, source

    def _open(self, path: Path) -> FeatureCache:
        """One file at a time: a map is an open file, and a process may have a thousand."""
        if self._opened is None or self._opened.path != path:
            self._opened = FeatureCache(path, self.split)
        return self._opened

    def _rows(self, clip: Clip, source: str, held: FeatureCache, first: int) -> Iterator[ClipFeatures]:
        num_frames, fps = held.column("num_frames"), held.column("fps")
        for row in range(first, first + held.views):
            yield ClipFeatures(clip.id, clip.text, int(num_frames[row]), float(fps[row]), held.row(row), source)
