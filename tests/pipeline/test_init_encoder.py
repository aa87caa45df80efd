"""`encoder.init_from`: a training begins with another run's encoder and Light-T, or without the parts that it names."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from slt_cache.checkpoints.record import Record, read_record, save_record, write_record
from slt_cache.checkpoints.visual import new_visual_translator, save_visual
from slt_cache.config import EncoderConfig, LightTConfig, VideoConfig, load_config
from slt_cache.errors import InputError
from slt_cache.pipeline.init_encoder import initial_encoder
from slt_cache.pipeline.train_from_video import epoch_folder
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.killed import killed_after
from tests.helpers.made_run import make_run
from tests.models.test_saved import DIM, save

ENCODER, LIGHT_T = EncoderConfig(weights="none", dim=DIM), LightTConfig(size="tiny")
STILL = (f"encoder.dim={DIM}", "corpus.clips=20", "visual_training.epochs=1", "visual_training.lr=1e-12")
"""Settings with which nothing is learned, so that what was begun with can be seen."""


def save_stage_1(best: Path, tokenizer: Tokenizer, video: VideoConfig) -> Path:
    """A finished stage 1 with random weights."""
    torch.manual_seed(5)
    model = new_visual_translator(ENCODER, video, LIGHT_T, tokenizer)
    settings = {
        "encoder": ENCODER.recorded(),
        "video": video.recorded(),
        "light_t": LIGHT_T.model_dump(mode="json"),
        "tokenizer": {"language": tokenizer.language, "sha256": tokenizer.sha256},
    }
    save_visual(best, model, tokenizer, Record("stage 1", settings, finished=True))
    return best


@pytest.fixture(scope="module")
def stage_1(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, small_video: VideoConfig) -> Path:
    return save_stage_1(tmp_path_factory.mktemp("other") / "visual" / "best", tokenizer, small_video)


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a stage 1 and a cache of features."""
    run = tmp_path_factory.mktemp("mine") / "run"
    ran = train(run)
    assert ran.code == 0, ran.err
    assert slt_cache("extract-features", "--split", "all", "--run", run).code == 0
    return run


def train(run: Path, *settings: str, command: str = "train-visual") -> Ran:
    words = [part for word in (*STILL, *settings) for part in ("--set", word)]
    return slt_cache(command, "--run", run, "--config", TINY, *words)


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    """What an optimizer changes; batch norms follow their batches."""
    tensors = {**load_file(folder / "encoder.safetensors"), **load_file(folder / "light_t.safetensors")}
    return {name: one for name, one in tensors.items() if "running" not in name and "num_batches" not in name}


def same(one: Path, two: Path) -> set[str]:
    """The modules whose weights are equal."""
    first, second = parameters(one), parameters(two)
    names = {name.split(".")[0] for name in first}
    other = {name.split(".")[0] for name in first if not torch.allclose(first[name], second[name], atol=1e-6)}
    return names - other


@pytest.mark.parametrize(
    ("changes", "light_t", "part", "said"),
    [
        ({"kernel": 7}, "tiny", "temporal", "kernel 5 there, 7 here"),
        ({"dim": DIM + 1, "init_without": ("light_t",)}, "tiny", "temporal", "dim 16 there, 17 here"),
        ({}, "small", "light_t", "size tiny there, small here"),
        ({"dim": DIM + 1, "init_without": ("temporal",)}, "tiny", "light_t", "dim 16 there, 17 here"),
    ],
)
def test_what_does_not_fit_is_named_and_can_be_left_out(
    stage_1: Path, tokenizer: Tokenizer, changes: dict[str, Any], light_t: Any, part: str, said: str
) -> None:
    encoder = ENCODER.model_copy(update={"init_from": str(stage_1), **changes})
    with pytest.raises(InputError) as refused:
        initial_encoder(encoder, LightTConfig(size=light_t), tokenizer)
    assert f"({part}: {said})" in str(refused.value)
    omitted = encoder.model_copy(update={"init_without": (*encoder.init_without, part)})
    begins = initial_encoder(omitted, LightTConfig(size=light_t), tokenizer)
    assert begins is not None and part in begins.fresh


def test_another_backbone_has_nothing_to_take(stage_1: Path, tokenizer: Tokenizer) -> None:
    encoder = ENCODER.model_copy(update={"init_from": str(stage_1), "backbone": "resnet34"})
    with pytest.raises(InputError, match="backbone: backbone resnet18 there, resnet34 here"):
        initial_encoder(encoder, LIGHT_T, tokenizer)


def test_light_t_of_another_tokenizer_or_language_does_not_fit(stage_1: Path, tokenizer: Tokenizer, mine: Path) -> None:
    encoder = ENCODER.model_copy(update={"init_from": str(stage_1)})
    other = load_tokenizer(str(mine / "tokenizer"), "de_DE")
    with pytest.raises(InputError, match="light_t: another tokenizer"):
        initial_encoder(encoder, LIGHT_T, other)
    english = Tokenizer(tokenizer.inner, "en_XX", tokenizer.start)
    with pytest.raises(InputError, match="light_t: language de_DE there, en_XX here"):
        initial_encoder(encoder, LIGHT_T, english)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def unfinish(folder: Path) -> None:
    record = read_record(folder)
    assert record is not None
    write_record(folder, Record(record.stage, record.settings))


@pytest.mark.parametrize(
    ("named", "damage", "said"),
    [
        ("visual/best", shutil.rmtree, "no such folder"),
        ("visual/best", lambda best: cut(best / "encoder.safetensors"), "encoder.safetensors: damaged"),
        ("visual/best", lambda best: cut(best / "record.json"), "record.json: damaged"),
        ("visual/best", lambda best: (best / "record.json").unlink(), "no finished stage 1"),
        ("visual/best", unfinish, "no finished stage 1"),
        ("", lambda best: None, "Did you mean "),
    ],
)
def test_a_missing_or_damaged_folder_is_one_line(
    stage_1: Path, tmp_path: Path, tokenizer: Tokenizer, named: str, damage: Callable[[Path], object], said: str
) -> None:
    other = Path(shutil.copytree(stage_1.parents[1], tmp_path / "other"))
    damage(other / "visual" / "best")
    encoder = ENCODER.model_copy(update={"init_from": str(other / named)})
    with pytest.raises(InputError) as refused:
        initial_encoder(encoder, LIGHT_T, tokenizer)
    assert said in str(refused.value) and str(other / named) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_training_begins_with_encoder_and_light_t_and_needs_them_once(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, run = Path(shutil.copytree(mine, tmp_path / "other")), tmp_path / "run"
    best = f"encoder.init_from={other / 'visual' / 'best'}"

    with killed_after(1):
        train(run, best, "compute.save_minutes=0", "visual_training.batch_size=4")
    shutil.rmtree(other)
    ran = train(run, best, "visual_training.batch_size=4")
    assert ran.code == 0, ran.err
    assert "resumes in epoch 1" in ran.err
    assert same(run / "visual" / "best", mine / "visual" / "best") == {"backbone", "temporal", "adapter", "seq2seq"}
    record = read_record(run / "visual" / "best")
    assert record is not None and record.settings["encoder"]["init_from"].startswith("sha256:")
    assert "trained already" in train(run, best, "visual_training.batch_size=4").err
    moved = best.replace(str(other), str(mine))
    assert "trained already" in train(run, moved, "visual_training.batch_size=4").err
    gone = train(tmp_path / "new", best)
    assert gone.code == 2 and "no such folder" in gone.err


def test_without_light_t_and_the_temporal_module_the_backbone_alone_is_taken(stage_1: Path, tmp_path: Path) -> None:
    run, init = tmp_path / "run", (f"encoder.init_from={stage_1}", "encoder.kernel=3")
    dry = train(run, *init, "encoder.init_without=[temporal,light_t]", command="train-visual")
    assert dry.code == 0, dry.err
    assert f"training begins with {stage_1}: backbone; fresh: temporal module, Light-T" in dry.err
    first, second = parameters(run / "visual" / "best"), parameters(stage_1)
    equal = {name for name in first if first[name].shape == second.get(name, first[name]).shape}
    backbone = [name for name in equal if name.startswith("backbone.")]
    assert backbone and all(torch.allclose(first[name], second[name], atol=1e-6) for name in backbone)
    refused = train(run, *init)
    assert refused.code == 2 and "temporal: kernel 5 there, 3 here" in train(tmp_path / "new", *init).err


def test_a_dry_run_says_what_would_be_taken(stage_1: Path, tmp_path: Path, one_second_each: None) -> None:
    words = [part for word in (*STILL, f"encoder.init_from={stage_1}") for part in ("--set", word)]
    ran = slt_cache("train-visual", "--run", tmp_path / "run", "--config", TINY, *words, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["begins"] == [f"training begins with {stage_1}: backbone, temporal module, Light-T"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("named", ["", "encoder.safetensors"])
def test_naming_it_as_weights_is_refused_with_the_setting_that_takes_it_whole(
    stage_1: Path, mine: Path, named: str
) -> None:
    refused = slt_cache("train-visual", "--run", mine, "--restart", "--set", f"encoder.weights={stage_1 / named}")
    assert refused.code == 2 and f"encoder.init_from={stage_1}" in refused.err


def test_joint_training_begins_with_an_encoder_and_a_translator(stage_1: Path, mine: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(mine, tmp_path / "run"))
    save("mbart", tmp_path / "other")
    best = tmp_path / "other" / "llm" / "best"
    words = (
        f"llm.init_from={best}",
        f"encoder.init_from={stage_1}",
        "llm_training.epochs=1",
        *(f"llm_training.{name}=1e-12" for name in ("lr", "adapter_lr", "encoder_lr")),
    )
    ran = slt_cache("train-joint", "--run", run, *[part for word in words for part in ("--set", word)])
    assert ran.code == 0, ran.err
    assert f"training begins with {stage_1}: backbone, temporal module" in ran.err
    assert f"stage 2 begins with {best}" in ran.err
    joint, encoder = (
        load_file(run / "joint" / "best" / "encoder.safetensors"),
        load_file(stage_1 / "encoder.safetensors"),
    )
    weights = [name for name in encoder if "running" not in name and "num_batches" not in name]
    assert all(torch.allclose(joint[name], encoder[name], atol=1e-6) for name in weights)
    for name in ("model.safetensors", "adapter.safetensors"):
        one, two = load_file(run / "joint" / "best" / "llm" / name), load_file(best / name)
        assert all(torch.allclose(one[key], two[key], atol=1e-6) for key in two)
    assert slt_cache("verify", run).code == 0
    shutil.rmtree(tmp_path / "other")
    more = ("llm_training.epochs=2", *words[:2], *words[3:])
    longer = slt_cache("train-joint", "--run", run, "--continue", *[part for word in more for part in ("--set", word)])
    assert longer.code == 0, longer.err
    assert "resumes after epoch 1" in longer.err and "begins with" not in longer.err
    for folder in ("joint/best", "joint/best/llm"):
        record = read_record(run / folder)
        assert record is not None and record.settings["llm_training"]["epochs"] == 2
    assert slt_cache("verify", run).code == 0


def test_the_weights_of_an_epoch_are_taken_like_the_best(
    stage_1: Path, tmp_path: Path, tokenizer: Tokenizer, small_video: VideoConfig
) -> None:
    kept = shutil.copytree(stage_1, epoch_folder(tmp_path / "visual", 3))
    begins = initial_encoder(ENCODER.model_copy(update={"init_from": str(kept)}), LIGHT_T, tokenizer)
    assert begins is not None
    assert begins.summary == f"training begins with {kept}: backbone, temporal module, Light-T"
    model = new_visual_translator(ENCODER, small_video, LIGHT_T, tokenizer)
    begins.load_into(model)
    written, known = model.encoder.state_dict(), load_file(stage_1 / "encoder.safetensors")
    assert all(torch.equal(written[name], known[name]) for name in known)


def test_a_jointly_trained_encoder_is_taken_without_the_light_t_that_it_lacks(tmp_path: Path) -> None:
    joint = make_run(tmp_path / "run", "mbart", joint=True) / "joint" / "best"
    record = read_record(joint)
    assert record is not None
    save_record(joint, replace(record, settings={k: v for k, v in record.settings.items() if k != "light_t"}))
    config = load_config(str(TINY), [f"encoder.init_from={joint}"])
    alone = initial_encoder(config.encoder, None, None)
    assert alone is not None and alone.takes == ("backbone", "temporal")
    with pytest.raises(InputError, match=r"\(light_t: there is none\)\. .*encoder\.init_without=\[\"light_t\"\]"):
        initial_encoder(config.encoder, config.light_t, None)
    omitted = config.encoder.model_copy(update={"init_without": ("light_t",)})
    begins = initial_encoder(omitted, config.light_t, None)
    assert begins is not None and begins.fresh == ("light_t",)


def test_stage_1_keeps_its_own_tokenizer_and_a_new_one_takes_that_of_llm_init_from(mine: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(mine, tmp_path / "run"))
    save("mbart", tmp_path / "other")
    best = tmp_path / "other" / "llm" / "best"
    stage_2 = slt_cache("train-llm", "--run", run, "--set", f"llm.init_from={best}", "--set", "llm_training.epochs=1")
    assert stage_2.code == 0, stage_2.err
    assert "stage 1: trained already" in slt_cache("train-visual", "--run", run).err
    assert slt_cache("eval", "--run", run).code == 0
    again = slt_cache("train-visual", "--run", run, "--restart")
    assert again.code == 0, again.err
    record = read_record(run / "visual" / "best")
    assert record is not None
    assert record.settings["tokenizer"]["sha256"] == load_tokenizer(str(best), "de_DE").sha256
    assert "stage 1: trained already" in slt_cache("train-visual", "--run", run).err
