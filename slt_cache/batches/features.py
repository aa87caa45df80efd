"""Batches of clips from the feature cache. Reads no video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from slt_cache.batches.mixture import Mixture
from slt_cache.batches.sampler import WHOLE, EpochOrder, Shard
from slt_cache.batches.targets import SentenceTargets, Targets
from slt_cache.device import moved
from slt_cache.encoders.packing import ClipArrays, lengths_of, padded_arrays
from slt_cache.errors import InputError
from slt_cache.features.streams import CachedSplit, ClipSplit
from slt_cache.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class FeatureBatch:
    """Batch of B clips: features and target sentences."""

    ids: tuple[str, ...]
    features: torch.Tensor
    """Features, float32 [B, N, C], with zeros after the end of each clip; of several streams as in models/adapter.py.
    """
    lengths: torch.Tensor
    """Number of steps of each clip, int64 [B], on the CPU; of each of its streams, [B, S], if there are several."""
    targets: Targets
    languages: tuple[str, ...] = ()
    """Language of each clip's sentence, as its manifest names it."""

    @property
    def size(self) -> int:
        """Number of steps in the batch, without padding."""
        return int(self.lengths.sum())

    def to(self, device: torch.device) -> "FeatureBatch":
        """Copies what the network computes with. The lengths stay on the CPU, since shapes depend on them."""
        return replace(self, features=moved(self.features, device), targets=self.targets.to(device))

    def pin_memory(self) -> "FeatureBatch":
        """Pins what is copied to a GPU, so that this process does not wait for the copies."""
        return replace(self, features=self.features.pin_memory(), targets=self.targets.pin_memory())


Item = tuple[str, ClipArrays, str]
"""Clip: id, features [N, C] as cached (of each of several streams), read-only, and sentence."""


class CachedClips(Dataset[Any]):
    """Dataset of clips, indexed by (epoch, index).

    With a seed, a view of each clip is drawn every epoch; without one, it is view 0."""

    def __init__(self, cache: ClipSplit, seed: int | None = None):
        self.cache = cache
        self.seed = seed

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, item: tuple[int, int]) -> Item:
        epoch, index = item
        cache, view = self.cache, 0
        if self.seed is not None and cache.views > 1:
            view = int(np.random.default_rng((self.seed, epoch, index)).integers(cache.views))
        clip = index % len(cache)  # a clip that occurs again in an epoch has a higher index
        return cache.ids[clip], cache.row(clip * cache.views + view), cache.texts[clip]


class FeatureCollator:
    """Collator of `CachedClips` items into a FeatureBatch."""

    def __init__(self, tokenizer: Tokenizer, languages: Mapping[str, str] = MappingProxyType({})):
        """Takes the language of each clip's sentence, by id, if there are several."""
        self.targets = SentenceTargets(tokenizer)
        self.languages = languages

    def __call__(self, items: Sequence[Item]) -> FeatureBatch:
        ids, features, texts = zip(*items, strict=True)
        languages = tuple(self.languages.get(clip_id, "") for clip_id in ids)
        padded = padded_arrays(features)
        return FeatureBatch(
            ids=tuple(ids),
            features=torch.from_numpy(padded).float(),  # numpy's own conversion takes ten times as long
            lengths=torch.tensor([lengths_of(clip) for clip in features]),
            targets=self.targets(texts, languages),
            languages=languages,
        )


def feature_loader(
    cache: ClipSplit,
    tokenizer: Tokenizer,
    *,
    batch_size: int,
    seed: int = 0,
    shuffle: bool,
    by_length: bool = False,
    shard: Shard = WHOLE,
    mixture: Mixture | None = None,
    pinned: bool = False,
) -> DataLoader[Any]:
    """Makes a loader of batches straight from the memory-mapped cache, read in this process. Shuffled batches, for
    training, include the augmented views. `by_length` groups clips of similar N (sampler.py), whatever the lengths of
    their sentences, which roughly follow N. A `mixture` draws clips by corpus and language; `pinned` is for
    a GPU."""
    lengths = cache.steps if by_length else None
    return DataLoader(
        CachedClips(cache, seed if shuffle else None),
        batch_sampler=EpochOrder(len(cache), batch_size, seed, shuffle, lengths, shard, mixture=mixture),
        collate_fn=FeatureCollator(tokenizer, cache.languages),
        pin_memory=pinned,
    )


def require_positions(
    cache: CachedSplit,
    positions: int | None,
    tokenizer: Tokenizer,
    of_target: int | None = None,
    steps: np.ndarray | None = None,
) -> None:
    """Raises InputError, naming the clips, if one has more steps, in any view, or more tokens than the LLM has
    positions: before training begins rather than in the middle of it. `of_target` is the number of positions for
    tokens if it differs from that for steps; `steps` is the number of steps of each row if it is not that of its
    features."""
    if positions is None:
        return
    of_target = positions if of_target is None else of_target
    rows = np.flatnonzero((cache.lengths if steps is None else steps) > positions)
    if len(rows):
        clips = list(dict.fromkeys(cache.ids[row // cache.views] for row in rows.tolist()))
        shown = ", ".join(map(repr, clips[:3]))
        raise InputError(
            f"{cache.path} ({cache.split}): {len(clips)} of {len(cache)} clips are longer than the LLM's {positions} "
            f"steps, such as {shown}. Split them into shorter clips, keep fewer frames (video.keep_rate), or use an "
            "LLM with unlimited positions (T5, NLLB, Llama)."
        )
    for clip_id, text in zip(cache.ids, cache.texts, strict=True):
        tokens = len(tokenizer.encode(text)) + len(tokenizer.start)
        if tokens > of_target:
            raise InputError(
                f"{cache.path} ({cache.split}): the sentence of clip {clip_id!r} has {tokens} tokens, more than the "
                f"LLM's {of_target} positions. Split the clip into shorter ones, or remove it from the manifest."
            )


def require_statistics(cache: CachedSplit, batch_size: int, stride: int) -> None:
    """Raises InputError, naming a clip, if a batch of one process may be a single clip of a single step after a stride,
    which has no batch statistics. A last single clip of an epoch joins the batch before it."""
    if batch_size > 1 and len(cache) > 1:
        return
    short = np.flatnonzero(cache.lengths.reshape(len(cache.row_ids), -1).min(1) <= stride)
    if len(short):
        raise InputError(
            f"{cache.path} ({cache.split}): clip {cache.row_ids[short[0]]!r} has a single step for the temporal "
            "module's batch norm, and would be a batch of its own. Increase llm_training.batch_size, or set "
            "llm_training.temporal.stride=1 or llm_training.temporal=null."
        )
