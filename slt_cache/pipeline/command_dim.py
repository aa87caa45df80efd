"""Channels of the features that a program makes (`command:PROGRAM`), which the spec of a cache needs before there are
any: read from what an earlier extraction left, or found by running it on a clip."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from slt_cache.corpora.base import Clip
from slt_cache.encoders.base import Encoder
from slt_cache.encoders.command import CommandEncoder
from slt_cache.errors import SltCacheError
from slt_cache.features.cache import open_splits
from slt_cache.features.kept import UNREADABLE
from slt_cache.features.parts import parts_folder
from slt_cache.features.spec import FeatureSpec
from slt_cache.pipeline.encoder import reader_of
from slt_cache.pipeline.feature_spec import with_boxes
from slt_cache.runs.run import Run
from slt_cache.video.program import ProgramReader

TRIED = 3
"""Clips on which the program is tried, until one has features."""


def with_dim(encoder: Encoder, run: Run, cache: Path, clips: Sequence[Clip]) -> Encoder:
    """Returns the encoder with the channels of its features. Raises SltCacheError if the program makes none."""
    if not isinstance(encoder, CommandEncoder):
        return encoder
    asked = with_boxes(run, encoder.spec(run.config.features, run.config.augmentation))
    earlier = (spec.dim for spec in _extracted(cache) if not spec.differences(asked))
    return encoder.of_dim(next(earlier, 0) or _tried(encoder, clips[:TRIED]))


def _extracted(cache: Path) -> Iterator[FeatureSpec]:
    """Yields the specs of a cache and of its parts."""
    for path in (cache, *sorted(parts_folder(cache).rglob("*.h5"))):
        with suppress(*UNREADABLE):
            yield from (split.spec for split in open_splits(path).values())


def _tried(encoder: CommandEncoder, clips: Sequence[Clip]) -> int:
    reader = reader_of(encoder)
    assert isinstance(reader, ProgramReader)
    why = []
    for clip in clips:
        found = reader.features([clip])[clip]
        if isinstance(found, np.ndarray):
            return int(found.shape[1])
        why.append(f"{clip.id}: {found.reason}")
    raise SltCacheError(
        f"encoder.name {encoder.name}: no features of the first clips ({'; '.join(why)}). Run it on them yourself, as "
        "slt_cache/encoders/README.md says."
    )
