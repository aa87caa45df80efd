"""Stage 1 in less memory, compiled and measured."""

import json
import shutil
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError

from slt_cache.bench import visual
from slt_cache.bench.visual import verdict
from slt_cache.checkpoints.visual import load_visual
from slt_cache.config import Config, VisualTrainingConfig
from slt_cache.corpora.base import Clip
from slt_cache.encoders.visual_encoder import VisualEncoder
from slt_cache.models.translators import SignTranslator, VisualTranslator, make_light_t
from slt_cache.pipeline.visual_training import warn_of_memory, with_passes
from slt_cache.text.tokenizer import Tokenizer
from tests.helpers.commands import TINY, Ran, slt_cache

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LENGTHS = torch.tensor([5, 7, 4])
SMALL = ["--config", str(TINY), "--set", "visual_training.batch_size=4", "--set", "generation.num_beams=1"]


@pytest.fixture
def encoder() -> VisualEncoder:
    return VisualEncoder("resnet18", 16, 3, MEAN, STD).train()


def frames_of(count: int, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


def step(encoder: VisualEncoder, frames: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The features, and all that an update leaves: gradients and running statistics."""
    encoder.zero_grad()
    features = encoder(frames, LENGTHS)
    (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum().backward()
    gradients = {name: weight.grad.clone() for name, weight in encoder.named_parameters() if weight.grad is not None}
    return features.detach(), {**gradients, **{name: value.clone() for name, value in encoder.named_buffers()}}


# --- memory


def test_a_batch_that_will_not_fit_the_gpu_is_said_beforehand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tokenizer: Tokenizer, numbered_video: Path
) -> None:
    light_t = make_light_t("tiny", len(tokenizer), tokenizer.pad, tokenizer.eos, 0.0)
    model = VisualTranslator(VisualEncoder("resnet18", 16, 3, MEAN, STD), SignTranslator(16, light_t, tokenizer.start))
    clips = [Clip("one", "train", numbered_video, None, None, "ein satz")]
    config, loop, device = Config(), VisualTrainingConfig(), SimpleNamespace(type="cuda")
    for free, said in ((10**12, ""), (10**9, "batches of up to 120 frames take about 2.9 GB, but 1.0 GB are free")):
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda _, free=free: (free, 10**12))
        warn_of_memory(model, config, loop, clips, device)  # type: ignore[arg-type]
        assert capsys.readouterr().err.startswith(said)
    warn_of_memory(model, config, loop, clips, torch.device("cpu"))
    model.encoder.requires_grad_(False)
    warn_of_memory(model, config, loop, clips, device)  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""


# --- settings


def test_compiling_goes_without_recomputing() -> None:
    for encoder in ({"checkpointing": True}, {"chunk_frames": 8}):
        with pytest.raises(ValidationError, match=r"compute\.compile cannot be combined"):
            Config.model_validate({"compute": {"compile": True}, "encoder": encoder})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_a_compiled_backbone_learns_the_same_and_is_saved_as_ever() -> None:
    config = Config.model_validate({"compute": {"compile": True}})
    plain = VisualEncoder("resnet18", 16, 3, MEAN, STD).train()
    compiled = deepcopy(plain)
    with_passes(SimpleNamespace(encoder=compiled), config)  # type: ignore[arg-type]
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    for _ in range(2):
        frames = frames_of(16)
        features, left = step(plain, frames)
        again, left_again = step(compiled, frames)
        torch.testing.assert_close(features, again, atol=1e-3, rtol=1e-3)
        assert left["backbone.bn1.num_batches_tracked"] == left_again["backbone.bn1.num_batches_tracked"]
    copy = deepcopy(compiled).eval()
    assert torch.equal(copy.frame_features(frames), copy.backbone(copy._normalized(frames)))


# --- the commands


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a drawn corpus and a stage 1 of one epoch, without any of it."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    done = train(folder)
    assert done.code == 0, done.err
    return folder


def train(folder: Path, *settings: str) -> Ran:
    chosen = [word for setting in ("visual_training.epochs=1", *settings) for word in ("--set", setting)]
    return slt_cache("train-visual", "--run", folder, *SMALL, *chosen, "--json")


def test_the_weights_are_those_of_a_training_without(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "corpus", tmp_path / "other" / "corpus")
    assert train(tmp_path / "other", "video.frame_cache=true", "encoder.checkpointing=true").code == 0
    there, here = load_visual(tmp_path / "other" / "visual" / "best"), load_visual(run / "visual" / "best")
    assert there.sha256("hidden") == here.sha256("hidden")
    assert there.record.settings == here.record.settings
    assert len(list((tmp_path / "other" / "frames").iterdir())) == 19


def test_switching_it_on_is_not_another_training(run: Path) -> None:
    again = train(run, "video.frame_cache=true", "encoder.checkpointing=true", "compute.compile=false")
    assert again.code == 0
    assert "trained already" in again.err
    chunked = train(run, "encoder.chunk_frames=64")
    assert chunked.code == 2
    assert "encoder.chunk_frames" in chunked.err


def test_bench_visual_gives_one_flat_object(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visual, "ROUNDS", 1)
    before = sorted(path.name for path in run.iterdir())
    done = slt_cache("bench", "visual", "--run", run, *SMALL, "--batches", "2", "--json", "--set", "compute.workers=2")
    assert done.code == 0, done.err
    figures = json.loads(done.out)
    assert not any(isinstance(value, dict | list) for value in figures.values())
    assert (figures["batches_timed"], figures["batch_size"], figures["size"], figures["workers"]) == (2, 4, 32, 2)
    assert figures["batches_an_epoch"] == 5
    assert all(figures[name] > 0 for name in figures if "frames_per_second" in name)
    assert 0 <= figures["waiting_share"] <= 1
    assert "pay" in figures["frame_cache"]
    assert sorted(path.name for path in run.iterdir()) == before


def test_the_frame_cache_pays_where_training_sees_more_frames() -> None:
    assert verdict(reading=900, training=90, gain=1.02) == (
        "does not pay: videos are read faster than they are trained on"
    )
    assert verdict(reading=90, training=900, gain=0.9) == "does not pay: its disk is too slow"
    assert verdict(reading=90, training=900, gain=4.0).startswith("pays: 4.00 times the frames per second")
    assert verdict(reading=90, training=900, gain=4.0).endswith("waits for it")
    assert verdict(reading=900, training=90, gain=1.3).endswith("shares the processor with it")
