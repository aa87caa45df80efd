"""Streams of a run, the feature caches of several encoders for the same clips, opened, checked and left out."""

from collections.abc import Mapping, Sequence

from slt_cache.checkpoints.visual import load_visual
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache, FeaturesDiffer
from slt_cache.features.file import CacheFile
from slt_cache.features.spec import IMPORTED, FeatureSpec
from slt_cache.features.streams import StreamSplit
from slt_cache.models.adapter import StreamAdapter
from slt_cache.models.translators import SignTranslator
from slt_cache.pipeline.cached_clips import counted
from slt_cache.pipeline.feature_spec import differs_from, open_features
from slt_cache.progress import log
from slt_cache.runs.run import Run


def open_streams(
    run: Run, files: Mapping[str, CacheFile], split: str, specs: Mapping[str, FeatureSpec] | None = None
) -> StreamSplit:
    """Opens a split of each cache and joins their clips by id, logging what is missing in one of them. Raises
    InputError if the features are not of these specs or, without specs, of another stage 1 than the run's; and like
    open_features."""
    opened = {}
    for name, file in files.items():
        if specs is None:
            _require_own_stage_1(run, FeatureCache(file, split))
        opened[name] = open_features(run, file, split, {} if specs is None else specs[name])
    joined = StreamSplit(opened)
    for name, ids in joined.missing_in.items():
        what = counted(ids, "is missing that another stream has", "are missing that another stream has")
        log(f"stream {name}: {opened[name].path} ({split}): {what}; left out from here on")
    return joined


def _require_own_stage_1(run: Run, cached: FeatureCache) -> None:
    """Raises FeaturesDiffer for the features of another stage 1 than the run has."""
    best, spec = run.visual / "best", cached.spec
    if spec.level == IMPORTED or spec.encoder is not None or not best.is_dir():
        return
    different = differs_from(load_visual(best), spec)
    if different:
        raise FeaturesDiffer(cached.path, cached.split, "; ".join(different))


def leave_out(translator: SignTranslator, specs: FeatureSpec | Mapping[str, FeatureSpec], names: Sequence[str]) -> None:
    """Makes a translator ignore these streams. Raises InputError for a stream that it does not have, and for all."""
    streams = [] if isinstance(specs, FeatureSpec) else list(specs)
    for name in names:
        if name not in streams:
            have = f"Its streams are {', '.join(streams)}" if streams else "It was trained on a single stream"
            raise InputError(f"--without {name}: no such stream of this model. {have}.")
    if names and set(names) == set(streams):
        raise InputError(f"--without {' '.join(names)}: these are all streams of this model. Keep one.")
    if isinstance(translator.adapter, StreamAdapter):
        translator.adapter.without = frozenset(map(streams.index, names))
