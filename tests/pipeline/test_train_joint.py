"""The LLM trained from pixels: behind stage 1 with parts of the encoder (table 9), and without it (tables 4, 5)."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slt_cache.checkpoints.end_to_end import load_end_to_end
from slt_cache.checkpoints.record import save_record
from slt_cache.checkpoints.translator import load_llm
from slt_cache.checkpoints.visual import load_visual
from slt_cache.errors import InputError
from slt_cache.files import write_json
from slt_cache.metrics.video_gap import GAP, HIGH, LOW, SWAPPED
from slt_cache.models.weights import tensors_sha256
from slt_cache.pipeline.train_joint import train_unfrozen
from slt_cache.reading import read_json
from slt_cache.runs.run import open_run
from slt_cache.training.logs import read_metrics
from tests.helpers.commands import TINY, slt_cache

TEMPORAL = ("--set", "llm_training.unfreeze=temporal")
BRIEF = ("--set", "llm_training.epochs=1", "--set", "compute.workers=0")


def succeed(*arguments: str | Path) -> str:
    ran = slt_cache(*arguments)
    assert ran.code == 0, ran.err
    return ran.out


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("joint") / "run"
    brief = ("visual_training.epochs=1", "video.size=24", "compute.keep_state=false")
    settings = [word for setting in brief for word in ("--set", setting)]
    succeed("train-visual", "--run", run, "--config", TINY, *settings)
    return run


def copied(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder / "run")
    # the manifest names videos by path
    manifest = folder / "run" / "manifest.tsv"
    manifest.write_text(manifest.read_text().replace(str(run), str(folder / "run")))
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return copied(trained, tmp_path)


@pytest.fixture(scope="module")
def unfrozen(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run whose temporal module was trained with the LLM, and what the command printed."""
    run = copied(trained, tmp_path_factory.mktemp("unfrozen"))
    return run, succeed("train-llm", "--run", run, *TEMPORAL, *BRIEF)


def encoder_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "best" / "encoder.safetensors")


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_the_temporal_module_learns_on_and_the_frozen_backbone_keeps_every_bit(unfrozen: tuple[Path, str]) -> None:
    run, said = unfrozen
    assert "eval --model llm-unfreeze-temporal" in said
    folder = run / "llm-unfreeze-temporal"
    different = changed(encoder_of(run / "visual"), encoder_of(folder))
    assert different
    assert all(name.startswith("temporal.") for name in different)
    assert {"temporal.conv.weight", "temporal.norm.running_mean"} <= different
    assert not (run / "feats.h5").exists()
    assert "unfreeze: none" in (run / "config.yaml").read_text()


def test_the_whole_encoder_learns_on_with_its_statistics_and_all_terms_of_the_loss(run: Path) -> None:
    best = run / "visual" / "best"
    unseeing = {GAP: 0.1, SWAPPED: 0.0, LOW: -0.1, HIGH: 0.1}
    save_record(best, replace(load_visual(best).record, video_gap=unseeing))
    terms = ("--set", "llm_training.objective=contrastive,signcl", "--set", "llm_training.objective_weights.signcl=0.5")
    ran = slt_cache("train-llm", "--run", run, "--set", "llm_training.unfreeze=all", *terms, *BRIEF)
    assert ran.code == 0, ran.err
    assert "stage 2 trains the encoder of stage 1 further: its weights hardly see the video" in ran.err
    [epoch] = [line for line in read_metrics(run / "llm-unfreeze-all" / "metrics.jsonl") if line["kind"] == "epoch"]
    assert epoch["loss/contrastive"] > 0 and epoch["loss/signcl"] > 0
    different = changed(encoder_of(run / "visual"), encoder_of(run / "llm-unfreeze-all"))
    assert {"backbone.conv1.weight", "backbone.bn1.running_mean", "temporal.conv.weight"} <= different


def test_it_is_scored_from_video_with_its_own_encoder_even_beside_a_cache(
    unfrozen: tuple[Path, str], tmp_path: Path
) -> None:
    run = copied(unfrozen[0], tmp_path)
    succeed("extract-features", "--split", "all", "--run", run)
    ran = slt_cache("eval", "--run", run, "--model", "llm-unfreeze-temporal")
    assert ran.code == 0, ran.err
    assert "in no cache for this model" in ran.err
    assert read_json(run / "eval" / "llm-unfreeze-temporal.test.json")["model"] == "llm-unfreeze-temporal"
    loaded = load_end_to_end(run / "llm-unfreeze-temporal" / "best", "")
    llm = load_llm(run / "llm-unfreeze-temporal" / "best" / "llm")
    assert llm.spec.encoder_sha256 == tensors_sha256(loaded.model.encoder.state_dict())
    again = slt_cache("train-llm", "--run", run, *TEMPORAL, *BRIEF)
    assert (again.code, "trained already" in again.err) == (0, True)


def test_joint_training_needs_no_stage_1(run: Path) -> None:
    shutil.rmtree(run / "visual")
    said = succeed("train-joint", "--run", run, *BRIEF)
    assert "eval --model joint" in said
    assert succeed("eval", "--run", run, "--model", "joint", "--split", "dev").startswith("dev, ")
    assert encoder_of(run / "joint").keys()


def test_without_stage_1_a_frozen_backbone_stays_as_it_began(run: Path, tmp_path: Path) -> None:
    began = {name.removeprefix("backbone."): t for name, t in encoder_of(run / "visual").items() if "backbone" in name}
    torch.save(began, tmp_path / "resnet18.pth")
    weights = ("--set", f"encoder.weights={tmp_path / 'resnet18.pth'}")
    succeed("train-joint", "--run", run, *TEMPORAL, *weights, *BRIEF)
    ended = encoder_of(run / "joint-temporal")
    assert not changed(began, {name.removeprefix("backbone."): t for name, t in ended.items() if "backbone" in name})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["unfreeze=temporal", "objective=signcl"], "signcl: shapes the backbone, which does not learn"),
        (["unfreeze=all", "objective=contrastive", "batch_size=1"], "contrastive: compares the clips of a batch"),
    ],
)
def test_terms_that_would_change_nothing_are_refused(run: Path, settings: list[str], said: str) -> None:
    for command in ("train-llm", "train-joint"):
        chosen = [word for setting in settings for word in ("--set", f"llm_training.{setting}")]
        refused = slt_cache(command, "--run", run, *chosen)
        assert (refused.code, said in refused.err) == (2, True), refused.err


def test_terms_of_a_decoder_only_llm_are_refused_before_it_is_loaded(run: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "llm" / "config.json", {"model_type": "gpt2"})
    chosen = ("--set", f"llm.name={tmp_path / 'llm'}", "--set", "llm_training.objective=denoising")
    for command in ("train-llm", "train-joint"):
        refused = slt_cache(command, "--run", run, *chosen)
        assert refused.code == 2 and refused.err.startswith(
            "error: llm_training.objective cross-entropy, denoising: a decoder-only LLM"
        )


def test_another_feature_level_or_encoder_is_refused(run: Path) -> None:
    with pytest.raises(InputError, match=r"features\.level frame"):
        train_unfrozen(open_run(run, None, ["llm_training.unfreeze=all", "features.level=frame"]))
    refused = slt_cache("train-llm", "--run", run, "--set", "llm_training.unfreeze=all", "--set", "encoder.dim=16")
    assert (refused.code, "encoder.dim: made with 32, asked for 16" in refused.err) == (2, True)


def test_a_model_that_is_not_trained_names_its_command(run: Path) -> None:
    refused = slt_cache("eval", "--run", run, "--model", "joint-temporal")
    assert refused.code == 2
    assert f"slt-cache train-joint --set llm_training.unfreeze=temporal --run {run}" in refused.err
