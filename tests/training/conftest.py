"""A small stage 1, and clips for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slt_cache.config import (
    VideoConfig,
)
from slt_cache.corpora.base import Clip
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.models.translators import SignTranslator, VisualTranslator
from slt_cache.text.tokenizer import Tokenizer


@pytest.fixture
def visual(tokenizer: Tokenizer, small_video: VideoConfig, small_mbart: Any) -> VisualTranslator:
    encoder = VisualEncoder("resnet18", 32, 5, small_video.mean, small_video.std)
    return VisualTranslator(encoder, SignTranslator(32, small_mbart, tokenizer.start))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> list[Clip]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        Clip(f"clip {n}", "train", make_video(folder / f"{n}.mp4", 9 + 8 * n, n), None, None, text)
        for n, text in enumerate(["heute regnet es", "fällt schnee im norden", "es ist trocken"])
    ]
