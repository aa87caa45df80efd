"""`--continue`: a finished training that goes on for more epochs, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from slt_cache.checkpoints.record import read_record
from slt_cache.runs.unfinished import Unfinished
from slt_cache.training.logs import read_metrics
from tests.e2e.test_restart import contents
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.killed import killed_after
from tests.helpers.tiny_run import succeed

LLM = ("train-llm", "--features", "feats.h5", "--run")


def settings(*words: str) -> list[str]:
    return [part for word in words for part in ("--set", word)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages; stage 1 for one epoch, whose weights are kept, and stage 2 for two epochs of five updates."""
    run = tmp_path_factory.mktemp("trained") / "run"
    words = ("visual_training.epochs=1", "visual_training.keep_epochs=[1,2]", "llm_training.batch_size=4")
    succeed("train-visual", "--run", run, "--config", TINY, *settings(*words))
    succeed("extract-features", "--split", "all", "--run", run)
    succeed(*LLM, run)
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def longer(run: Path, *words: str, epochs: int = 4) -> Ran:
    return slt_cache(*LLM, run, "--continue", *settings(f"llm_training.epochs={epochs}", *words))


def weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def kill_after(updates: int, run: Path) -> None:
    """Continues the training, and kills it after some updates, each of which saves the state."""
    with killed_after(updates):
        longer(run, "compute.save_minutes=0")


def test_a_finished_training_goes_on_for_more_epochs(run: Path) -> None:
    ran = longer(run)
    assert ran.code == 0, ran.err
    assert "resumes after epoch 2" in ran.err and "4 epochs instead of 2" in ran.err
    record = read_record(run / "llm" / "best")
    assert record is not None
    assert (record.finished, record.epochs, record.continued) == (True, 4, (2,))
    assert record.settings["llm_training"]["epochs"] == 4
    epochs = [line["epoch"] for line in read_metrics(run / "llm" / "metrics.jsonl") if line["kind"] == "epoch"]
    assert epochs == [1, 2, 3, 4]
    assert slt_cache("verify", run).code == 0
    again = succeed(*LLM, run)  # the saved settings are those of the longer training
    assert "stage 2: trained already" in again.err
    assert longer(run, epochs=5).code == 0
    record = read_record(run / "llm" / "best")
    assert record is not None and record.continued == (2, 4)


def test_killed_while_it_goes_on_the_finished_weights_stay_and_nothing_is_lost(trained: Path, run: Path) -> None:
    whole = Path(shutil.copytree(run, run.parent / "whole"))
    assert longer(whole).code == 0
    before = contents(run / "llm" / "best")
    kill_after(3, run)
    assert contents(run / "llm" / "best") == before
    assert slt_cache("verify", run).code == 0
    resumed = succeed(*LLM, run)  # its settings are saved, so they need not be named again
    assert "resumes in epoch 3, after 3 of 5 batches" in resumed.err
    assert weights(run / "llm" / "best") == weights(whole / "llm" / "best")
    state, other = (torch.load(one / "llm" / "state.pt", weights_only=True)["model"] for one in (run, whole))
    assert all(torch.equal(state[name], other[name]) for name in other)
    record = read_record(run / "llm" / "best")
    assert record is not None and record.continued == (2,)
    assert not (run / "llm" / "last").exists()


def test_killed_between_the_links_of_its_first_state_the_finished_training_is_whole(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(run / "llm")

    def killed(self: Unfinished, record: Any) -> None:
        whole(self, record)
        shutil.move(self.last, self._next)
        (self._next / "record.json").unlink()
        raise KeyboardInterrupt

    whole = Unfinished.lengthen
    monkeypatch.setattr(Unfinished, "lengthen", killed)
    assert longer(run).code == 130
    monkeypatch.undo()
    assert "stage 2: trained already" in succeed(*LLM, run).err
    assert contents(run / "llm") == before


def test_an_unfinished_longer_training_can_be_given_other_epochs(run: Path) -> None:
    kill_after(7, run)  # of the third and fourth epoch
    named = slt_cache(*LLM, run, *settings("llm_training.epochs=6"))
    assert named.code == 2 and "to epoch 6" in named.err and "--continue" in named.err
    refused = longer(run, epochs=3)
    assert refused.code == 2 and "has trained 4 epochs already" in refused.err
    ran = longer(run, epochs=6)
    assert ran.code == 0, ran.err
    assert "6 epochs instead of 4" in ran.err
    record = read_record(run / "llm" / "best")
    assert record is not None and (record.epochs, record.continued) == (6, (2, 3))


def test_without_the_option_the_refusal_names_it(run: Path) -> None:
    refused = slt_cache(*LLM, run, *settings("llm_training.epochs=4"))
    assert refused.code == 2
    assert "from epoch 2 to epoch 4" in refused.err and "--set llm_training.epochs=4 --continue" in refused.err
    other = slt_cache(*LLM, run, *settings("llm_training.epochs=4", "llm_training.lr=0.5"))
    assert other.code == 2 and "--continue" not in other.err


@pytest.mark.parametrize(
    ("words", "epochs", "said"),
    [
        ((), 1, "has trained 2 epochs already"),
        (("llm_training.patience=3",), 2, "has trained 2 epochs already"),
        (("llm_training.lr=0.5",), 4, "llm_training.lr: made with 0.001, asked for 0.5"),
        (("llm_training.patience=1",), 4, "ended after epoch 2, since dev had not improved in 1 evaluations"),
        (("llm_pretraining.epochs=2",), 4, "pre-training was trained with other settings"),
    ],
)
def test_what_cannot_be_continued_is_refused_in_words(
    trained: Path, words: tuple[str, ...], epochs: int, said: str
) -> None:
    before = contents(trained / "llm")
    refused = longer(trained, *words, epochs=epochs)
    assert refused.code == 2, refused.err
    assert said in refused.err
    assert contents(trained / "llm") == before


def test_the_same_epochs_are_trained_already(trained: Path) -> None:
    assert "stage 2: trained already" in longer(trained, epochs=2).err


def test_continuing_and_restarting_contradict_each_other(trained: Path) -> None:
    refused = slt_cache(*LLM, trained, "--continue", "--restart")
    assert refused.code == 2 and "contradict" in refused.err


@pytest.mark.parametrize(
    "command",
    [
        ("train-joint", "--dry-run"),
        ("train-joint",),
        ("train-llm", "--set", "llm.pretrained=false"),
        ("train-llm", "--set", "llm_training.unfreeze=temporal"),
    ],
)
def test_without_a_training_there_is_nothing_to_continue(trained: Path, command: tuple[str, ...]) -> None:
    before = contents(trained)
    refused = slt_cache(*command, "--run", trained, "--continue")
    assert refused.code == 2 and "no training to continue" in refused.err
    assert contents(trained) == before


def test_without_a_state_only_a_restart_can(run: Path) -> None:
    succeed(*LLM, run, "--restart", *settings("compute.keep_state=false"))
    assert not (run / "llm" / "state.pt").exists()
    refused = longer(run)
    assert refused.code == 2
    assert len(refused.err.strip().splitlines()) <= 2 and "--restart" in refused.err
    shutil.copy(run / "llm" / "pretrained" / "state.pt", run / "llm" / "state.pt")
    assert "of another training" in longer(run).err


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data[:-9] + b"!" + data[-8:]])
def test_a_damaged_state_is_named(run: Path, damage: Any) -> None:
    state = run / "llm" / "state.pt"
    state.write_bytes(damage(state.read_bytes()))
    refused = longer(run)
    assert refused.code == 2 and f"{state}: damaged" in refused.err
    assert slt_cache("verify", run).code == 1
    state.unlink()  # to free its space
    assert slt_cache("verify", run).code == 0


def test_pre_training_and_stage_1_go_on_too(run: Path) -> None:
    pretrained = slt_cache("llm", "pretrain", "--run", run, "--continue", *settings("llm_pretraining.epochs=2"))
    assert pretrained.code == 0, pretrained.err
    assert "resumes after epoch 1" in pretrained.err
    assert "out of date, since the LLM was pre-trained again: llm" in pretrained.err
    visual = slt_cache("train-visual", "--run", run, "--continue", *settings("visual_training.epochs=2"))
    assert visual.code == 0, visual.err
    assert "resumes after epoch 1" in visual.err and "out of date" not in visual.err  # epoch 1 is still the best
    assert sorted(path.name for path in (run / "visual" / "epochs").iterdir()) == ["1", "2"]
    assert slt_cache("verify", run).code == 0


def test_a_dry_run_counts_the_epochs_that_are_left(trained: Path, one_second_each: None) -> None:
    before = contents(trained)
    ran = slt_cache(*LLM, trained, "--continue", "--dry-run", "--json", *settings("llm_training.epochs=5"))
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert (found["state"], found["epochs"]) == ("continued after epoch 2", 3)
    assert slt_cache(*LLM, trained, "--continue", "--dry-run").code == 2
    assert contents(trained) == before
