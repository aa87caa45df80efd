"""What several test files need: small videos with numbered frames, a small tokenizer, a small MBart."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: no test may reach for the network

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from slt_cache.config import LlmPretrainingConfig, VideoConfig
from slt_cache.features.cache import FeatureCache
from slt_cache.models.llm.small import make_small
from slt_cache.progress import log_to_stderr
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from tests.helpers import commands, official
from tests.helpers.caches import add_split, facts_of, rows_of, spec_with_views

BITS = 8
"""Of a frame's number, one block of the picture each."""
BLOCK = (24, 16)
"""Pixels, height and width."""
FRAME = (2 * BLOCK[0], 4 * BLOCK[1])
"""Pixels, height and width: two rows of four blocks."""
TINY_MBART = LlmPretrainingConfig(hidden=32, heads=2, layers=1, feed_forward=64)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def messages_on_stderr() -> None:
    """Messages are shown as the command line shows them, also by what a test calls itself."""
    log_to_stderr()


@pytest.fixture(scope="session", autouse=True)
def drawn_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Commands that tests run in their own process share the videos of the demo corpus, under xdist too."""
    own = tmp_path_factory.getbasetemp()
    commands.drawn = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "drawn"


@pytest.fixture
def one_second_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dry runs and estimates measure nothing: all that they would time takes one second."""
    monkeypatch.setattr("slt_cache.estimates.rates.DeviceRates._timed", lambda self, work: 1.0)


@pytest.fixture(autouse=True)
def fixed_seed() -> Iterator[None]:
    """Every test begins with the same random numbers, in whatever order the tests run."""
    torch.manual_seed(0)
    yield


@pytest.fixture(autouse=True)
def ordinary_priority() -> Iterator[None]:
    """The AV1 encoder of FFmpeg gives the thread that calls it real-time priority if it may, and processes started
    later inherit it."""
    yield
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _corners(block: int) -> tuple[int, int]:
    row, column = divmod(block, 4)
    return row * BLOCK[0], column * BLOCK[1]


def draw_number(number: int) -> np.ndarray:
    """uint8 [48, 64, 3]; a white block for each bit that is set."""
    frame = np.zeros((*FRAME, 3), np.uint8)
    for bit in range(BITS):
        top, left = _corners(bit)
        frame[top : top + BLOCK[0], left : left + BLOCK[1]] = 255 * (number >> bit & 1)
    return frame


def read_number(frame: np.ndarray) -> int:
    """The number that `draw_number` drew, after lossy compression too."""
    number = 0
    for bit in range(BITS):
        top, left = _corners(bit)
        inner = frame[top + 6 : top + BLOCK[0] - 6, left + 4 : left + BLOCK[1] - 4]
        number |= int(inner.mean() > 127) << bit
    return number


def write_video(path: Path, frames: int, first: int = 0) -> Path:
    """H.264 at 25 frames a second, a key frame every 12 frames and B-frames between; frame i shows `first + i`."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width = FRAME
        stream.pix_fmt = "yuv420p"
        stream.options = {
            "crf": "18",
            "x264-params": "keyint=12:min-keyint=12:bframes=2:b-adapt=0:scenecut=0:threads=1",
        }
        for number in range(first, first + frames):
            for packet in stream.encode(av.VideoFrame.from_ndarray(draw_number(number), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture(scope="session")
def numbered_frame() -> Callable[[int], np.ndarray]:
    """number -> picture of it"""
    return draw_number


@pytest.fixture(scope="session")
def number_of() -> Callable[[np.ndarray], int]:
    """picture -> its number"""
    return read_number


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """(path, frames, first=0) -> path of a video whose frames show their numbers"""
    return write_video


@pytest.fixture(scope="session")
def numbered_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames, 2.4 seconds."""
    return write_video(tmp_path_factory.mktemp("video") / "sixty.mp4", 60)


@pytest.fixture(scope="session")
def small_video() -> VideoConfig:
    return VideoConfig(resize=36, size=32)


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """60 German, English and Chinese weather sentences."""
    places = ["im süden", "im norden", "an der küste", "in den höheren lagen", "über österreich"]
    weather = ["regnet es", "fällt schnee", "ist es größtenteils trocken", "weht ein mäßiger wind"]
    times = ["heute", "am dienstag"]
    german = [f"{time} {what} {place}" for place, what, time in product(places, weather, times)]
    english = [f"{time} it {what} in the north" for time, what in product(["Today", "Later"], ["rains", "snows"])]
    chinese = [f"{day}{what}，{wind}。" for day, what, wind in product("今明", ["下雪", "天晴"], ["有大风", "吗？"])]
    more = [f"Good evening, ladies and gentlemen: {degrees} degrees." for degrees in range(10, 18)]
    return [*german, *english, *chinese, *more]


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("text") / "tokenizer"
    train_tokenizer(sentences, 180, "de_DE", folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: Path) -> Tokenizer:
    return load_tokenizer(str(tokenizer_folder), "de_DE")


@pytest.fixture
def small_mbart(tokenizer: Tokenizer) -> torch.nn.Module:
    """A new one for each test, in evaluation mode, always with the same weights."""
    model = make_small(
        "small-mbart", TINY_MBART, len(tokenizer), tokenizer.pad, tokenizer.eos, tokenizer.language_code()
    )
    model.eval()
    return model


@pytest.fixture
def phoenix(tmp_path: Path) -> Path:
    return official.phoenix(tmp_path / "PHOENIX-2014-T")


@pytest.fixture
def train_csv(phoenix: Path) -> Path:
    return phoenix / "annotations" / "manual" / "PHOENIX-2014-T.train.corpus.csv"


@pytest.fixture
def csl(tmp_path: Path) -> Path:
    return official.csl(tmp_path / "CSL-Daily")


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return add_split(tmp_path / "feats.h5", rows_of())


@pytest.fixture
def seen_thrice(tmp_path: Path) -> FeatureCache:
    """Three views of each clip."""
    return add_split(tmp_path / "views.h5", rows_of(views=3), facts_of(spec=spec_with_views(3)))
