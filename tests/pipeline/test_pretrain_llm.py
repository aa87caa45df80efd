"""`llm pretrain --objective causal` and `prefix`: a decoder-only LLM is adapted to the text of a corpus before
stage 2."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from slt_cache.batches.prefix import PrefixBatches
from slt_cache.batches.text import TextBatch, TextBatches
from slt_cache.checkpoints.record import read_record
from slt_cache.corpora.base import MONOLINGUAL_FILE, of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.text.tokenizer import load_tokenizer
from slt_cache.training.tasks.causal import loss_per_token
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import make_small_llm
from tests.helpers.tiny_run import succeed

CAUSAL = ("--objective", "causal")
BRIEF = tuple(
    f"llm_pretraining.{setting}"
    for setting in ("epochs=2", "batch_size=8", "sentences=40", "warmup_steps=0", "lr=5e-3")
)


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Gemma 3 that knows tokens which the corpus does not use."""
    folder = tmp_path_factory.mktemp("gemma") / "llm"
    make_causal_llm("gemma3_text", folder)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the corpus drawn, and nothing trained."""
    run = tmp_path_factory.mktemp("prepared") / "run"
    succeed("prepare", "avatar", "--run", run, "--config", TINY, *settings("llm_training.epochs=1"))
    return run


@pytest.fixture(scope="module")
def adapted(prepared: Path, llm: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The run with its LLM adapted, and what the command said."""
    run = shutil.copytree(prepared, tmp_path_factory.mktemp("adapted") / "run")
    return run, succeed("llm", "pretrain", "--run", run, "--name", llm, *CAUSAL, *settings(*BRIEF))


def settings(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def dev_losses(run: Path) -> list[float]:
    lines = (run / "llm" / "pretrained" / "metrics.jsonl").read_text().splitlines()
    return [line["dev"]["loss"] for line in map(json.loads, lines) if line["kind"] == "epoch"]


def loss_on_dev(folder: Path, run: Path) -> float:
    """The loss per token of the saved LLM, and of its own tokenizer."""
    dev = [clip.text for clip in of_split(read_manifest(run / "manifest.tsv"), "dev")]
    text = TextBatches(dev, load_tokenizer(str(folder), "de_DE"), batch_size=3, shuffle=False)
    return loss_per_token(load_seq2seq(str(folder)).eval(), text)


def test_the_loss_on_dev_is_shown_and_the_best_weights_are_saved(adapted: tuple[Path, Ran]) -> None:
    run, ran = adapted
    best = run / "llm" / "pretrained" / "best"
    losses = dev_losses(run)
    assert len(losses) == 2
    assert all(f"dev loss {loss:.3f}" in ran.err for loss in losses)
    assert f"dev loss {min(losses):.4f} (" in ran.out and "greedy" not in ran.out
    record = read_record(best)
    assert record is not None and record.dev == {"loss": min(losses)}
    assert record.dev_score == f"loss {min(losses):.4f}"
    assert loss_on_dev(best, run) == pytest.approx(min(losses), abs=1e-4)
    assert min(losses) < loss_on_dev(run / "llm" / "trimmed", run) - 0.5


def test_a_learning_rate_that_is_high_for_a_whole_llm_is_one_line(adapted: tuple[Path, Ran]) -> None:
    said = "llm_pretraining.lr 0.005 is high for a pre-trained LLM that is trained whole"
    assert adapted[1].err.count(said) == 1


def test_the_vocabulary_is_that_of_the_text_and_the_train_sentences(adapted: tuple[Path, Ran], llm: Path) -> None:
    run, _ = adapted
    whole, trimmed = (load_tokenizer(str(folder), "de_DE") for folder in (llm, run / "llm" / "trimmed"))
    assert len(trimmed) < len(whole)
    text = (run / "corpus" / MONOLINGUAL_FILE).read_text(encoding="utf-8").splitlines()
    taken = [text[number * len(text) // 40] for number in range(40)]
    train = [clip.text for clip in of_split(read_manifest(run / "manifest.tsv"), "train")]
    for sentence in (*taken, *train):
        tokens = [tokenizer.inner.convert_ids_to_tokens(tokenizer.encode(sentence)) for tokenizer in (whole, trimmed)]
        assert tokens[0] == tokens[1]
    assert load_tokenizer(str(run / "llm" / "pretrained" / "best"), "de_DE").sha256 == trimmed.sha256


def test_both_stages_go_on_from_the_adapted_llm(adapted: tuple[Path, Ran], tmp_path: Path) -> None:
    run = shutil.copytree(adapted[0], tmp_path / "run")
    brief = settings("visual_training.epochs=1")
    succeed("train-visual", "--run", run, *brief)
    succeed("extract-features", "--split", "all", "--run", run)
    lora = settings("llm.lora.r=2", "llm.lora.targets=[q_proj]")  # it leaves the weights as they were
    assert "pre-training epoch" not in succeed("train-llm", "--features", "feats.h5", "--run", run, *lora).err
    record = read_record(run / "llm" / "best")
    assert record is not None and record.settings["pretraining"]["llm_pretraining"]["objective"] == "causal"
    before, after = (load_file(run / "llm" / name / "model.safetensors") for name in ("pretrained/best", "best"))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    succeed("eval", "--run", run)


def test_an_interrupted_adaptation_ends_as_an_uninterrupted_one(
    adapted: tuple[Path, Ran], prepared: Path, llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(prepared, tmp_path / "run")
    asked: tuple[str | Path, ...] = ("llm", "pretrain", "--run", run, "--name", llm, *CAUSAL, *settings(*BRIEF))
    epoch: Callable[..., Iterator[TextBatch]] = TextBatches.epoch

    def interrupted(self: TextBatches, number: int, first: int = 0) -> Iterator[TextBatch]:
        for place, batch in enumerate(epoch(self, number, first)):
            if number == 2 and place == 3:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(TextBatches, "epoch", interrupted)
        assert slt_cache(*asked).code == 130
    succeed(*asked)
    one, other = (folder / "llm/pretrained/best/model.safetensors" for folder in (run, adapted[0]))
    assert one.read_bytes() == other.read_bytes()


def test_sentences_are_restored_from_some_of_their_words(prepared: Path, llm: Path, tmp_path: Path) -> None:
    run = shutil.copytree(prepared, tmp_path / "run")
    share = "llm_pretraining.mask_ratio=0.2"
    succeed("llm", "pretrain", "--run", run, "--name", llm, "--objective", "prefix", *settings(*BRIEF, share))
    best = run / "llm" / "pretrained" / "best"
    dev = [clip.text for clip in of_split(read_manifest(run / "manifest.tsv"), "dev")]
    losses = []
    for folder in (best, run / "llm" / "trimmed"):
        tokenizer = load_tokenizer(str(folder), "de_DE")
        text = PrefixBatches(dev, tokenizer, omitted=0.2, batch_size=3, shuffle=False)
        losses.append(loss_per_token(load_seq2seq(str(folder)).eval(), text))
    assert losses[0] == pytest.approx(min(dev_losses(run)), abs=1e-4)
    assert losses[0] < losses[1] - 0.5
    record = read_record(best)
    assert record is not None
    recorded = record.settings["llm_pretraining"]
    assert (recorded["objective"], recorded["mask_ratio"], "span_mean" in recorded) == ("prefix", 0.2, False)
    more = slt_cache("llm", "pretrain", "--run", run, *settings("llm_pretraining.mask_ratio=0.3"))
    assert more.code == 2 and "mask_ratio: made with 0.2, asked for 0.3" in more.err


def test_lora_is_merged_into_what_stage_2_takes(prepared: Path, llm: Path, tmp_path: Path) -> None:
    run = shutil.copytree(prepared, tmp_path / "run")
    lora = ("llm_pretraining.lora.r=4", "llm_pretraining.lora.targets=[q_proj, up_proj]")
    succeed("llm", "pretrain", "--run", run, "--name", llm, *CAUSAL, *settings(*BRIEF, *lora))
    best, base = (run / "llm" / name for name in ("pretrained/best", "trimmed"))
    assert loss_on_dev(best, run) == pytest.approx(min(dev_losses(run)), abs=1e-3)
    weights, before = load_file(best / "model.safetensors"), load_file(base / "model.safetensors")
    assert weights.keys() == before.keys()
    changed = {name.split(".")[-2] for name, tensor in weights.items() if not torch.equal(tensor, before[name])}
    assert changed == {"q_proj", "up_proj"}


def test_a_stage_1_with_the_vocabulary_of_train_alone_is_kept(prepared: Path, llm: Path, tmp_path: Path) -> None:
    run = shutil.copytree(prepared, tmp_path / "run")
    succeed("train-visual", "--run", run, *settings("visual_training.epochs=1", f"llm.name={llm}"))
    refused = slt_cache("llm", "pretrain", "--run", run, *CAUSAL)
    assert refused.code == 2
    assert "llm_pretraining.objective: gives another tokenizer than stage 1" in refused.err


@pytest.mark.parametrize("objective", ["denoising", "causal", "prefix"])
def test_an_llm_that_does_not_suit_the_objective_is_refused(prepared: Path, tmp_path: Path, objective: str) -> None:
    make_small_llm("mbart", tmp_path / "mbart")
    for name in [tmp_path / "mbart"] if objective == "denoising" else [tmp_path / "mbart", "small-mbart"]:
        refused = slt_cache("llm", "pretrain", "--run", prepared, "--name", name, "--objective", objective)
        assert refused.code == 2
        [line] = refused.err.splitlines()
        assert str(name) in line and ("causal" if objective == "denoising" else objective) in line


def test_another_objective_is_refused_with_the_list(prepared: Path) -> None:
    refused = slt_cache("llm", "pretrain", "--run", prepared, "--objective", "next-word")
    assert refused.code == 2
    assert all(objective in refused.err for objective in ("denoising", "causal", "prefix"))
