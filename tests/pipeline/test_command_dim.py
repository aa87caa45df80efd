"""The channels of a program's features, which are known only once it has run."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from slt_cache.config import AugmentationConfig, FeaturesConfig, VideoConfig, load_config
from slt_cache.corpora.base import Clip
from slt_cache.encoders.base import NamedEncoder
from slt_cache.encoders.registry import open_encoder
from slt_cache.errors import SltCacheError
from slt_cache.pipeline.command_dim import with_dim
from slt_cache.runs.run import Run
from tests.helpers.caches import DIM, add_split, facts_of, rows_of
from tests.helpers.commands import TINY

PROGRAM = """#!{python}
import sys, pathlib
import numpy as np
for line in pathlib.Path(sys.argv[-2]).read_text(encoding="utf-8").splitlines():
    clip = line.split("\\t")[0]
    if "{bad}" not in clip:
        np.save(pathlib.Path(sys.argv[-1]) / (clip + ".npy"), np.ones((3, {dim}), np.float32))
"""


def run_with(folder: Path, dim: int, bad: str = "none") -> tuple[Run, NamedEncoder, list[Clip]]:
    """A run whose encoder is a program that makes features of `dim` channels, but for videos named `bad`."""
    program = folder / "program"
    program.write_text(PROGRAM.format(python=sys.executable, dim=dim, bad=bad))
    program.chmod(0o755)
    run = Run(folder, load_config(str(TINY), [f"encoder.name=command:{program}"]))
    clips = [Clip(name, "train", folder / f"{name}.mp4", None, None, "satz") for name in ("first", "second")]
    for clip in clips:
        clip.video.touch()
    return run, open_encoder(run.config.encoder, run.config.video), clips


def dim_of(encoder: object) -> int:
    assert isinstance(encoder, NamedEncoder)
    return encoder.spec(FeaturesConfig(), AugmentationConfig()).dim


def test_channels_are_those_that_the_program_writes_for_the_first_clip_that_it_can_read(tmp_path: Path) -> None:
    run, encoder, clips = run_with(tmp_path, 7, bad="first")
    assert dim_of(with_dim(encoder, run, run.features, clips)) == 7


def test_a_program_that_has_features_for_none_of_the_first_clips_is_an_error_with_its_reasons(tmp_path: Path) -> None:
    run, encoder, clips = run_with(tmp_path, 7, bad="s")  # in the name of both
    with pytest.raises(SltCacheError, match=r"no features of the first clips \(first: .*; second: .*Run it on them"):
        with_dim(encoder, run, run.features, clips)


def test_channels_that_a_cache_of_the_same_program_has_are_taken_without_running_it(tmp_path: Path) -> None:
    run, encoder, _ = run_with(tmp_path, 7)
    spec = with_dim(encoder, run, run.features, run_with(tmp_path, 7)[2]).spec(FeaturesConfig(), AugmentationConfig())
    add_split(run.features, rows_of(), facts_of(spec=replace(spec, dim=DIM)))
    assert dim_of(with_dim(encoder, run, run.features, [])) == DIM


def test_every_other_encoder_knows_its_channels(tmp_path: Path) -> None:
    run = Run(tmp_path, load_config(str(TINY), ["encoder.name=resnet18", "encoder.weights=none"]))
    encoder = open_encoder(run.config.encoder, VideoConfig())
    assert with_dim(encoder, run, run.features, []) is encoder
