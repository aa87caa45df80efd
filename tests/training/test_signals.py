"""Ctrl-C and SIGTERM in a training."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from slt_cache.training.loop import train
from slt_cache.training.signals import Interrupts
from slt_cache.training.state import STATE_FILE
from tests.helpers.toy_training import STEPS, ToyBatch, ToyTask, assert_same, options_of, without_seconds


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["reading", "updating", "evaluating", "saving the best"])
def test_ctrl_c_and_sigterm_save_what_is_done_wherever_they_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int, where: str
) -> None:
    class Stopped(ToyTask):
        def stop(self, here: str) -> None:
            if here == where and self.epoch == 2:
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), number)  # impatient

        def batches(self, epoch: int, first: int = 0) -> Iterator[ToyBatch]:
            for step, batch in enumerate(super().batches(epoch, first)):
                if step == 7:
                    self.stop("reading")
                yield batch

        def logits(self, model: nn.Module, batch: ToyBatch) -> torch.Tensor:
            if len(self.lrs) == STEPS + 6:
                self.stop("updating")
            return super().logits(model, batch)

        def evaluate(self) -> dict[str, float]:
            self.stop("evaluating")
            return super().evaluate()

        def save_best(self, epoch: int, dev: dict[str, float]) -> None:
            self.stop("saving the best")
            super().save_best(epoch, dev)

    bleu4 = [1.0, 5.0, 3.0, 4.0]
    whole = ToyTask(bleu4)
    expected = train(whole, options_of(tmp_path / "whole"))
    torch.manual_seed(0)
    stopped, resumed = Stopped(bleu4), ToyTask(bleu4)
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        train(stopped, options_of(tmp_path / "stopped"))
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    done = 7 if where in ("reading", "updating") else 12
    assert f"toy: interrupted in epoch 2, after {done} of 12 batches; saved in {tmp_path}" in capsys.readouterr().err
    resumed_progress = train(resumed, options_of(tmp_path / "stopped"))
    assert replace(resumed_progress, seconds=0.0, memory_bytes=0) == replace(expected, seconds=0.0, memory_bytes=0)
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert_same((stopped.saved | resumed.saved)[2], whole.saved[2])
    assert stopped.lrs + resumed.lrs == whole.lrs
    assert without_seconds(tmp_path / "stopped") == without_seconds(tmp_path / "whole")


def test_ctrl_c_before_the_first_update_leaves_no_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Stopped(ToyTask):
        def batches(self, epoch: int, first: int = 0) -> Iterator[ToyBatch]:
            os.kill(os.getpid(), signal.SIGINT)
            yield from super().batches(epoch, first)

    with pytest.raises(KeyboardInterrupt):
        train(Stopped([1.0] * 4), options_of(tmp_path))
    assert "nothing to save" in capsys.readouterr().err
    assert not (tmp_path / "last" / STATE_FILE).exists()


def test_a_signal_within_a_held_block_is_raised_once_the_block_is_done() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts, interrupts.held():
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("saved")
    assert done == ["saved"]


def test_a_signal_to_one_of_several_processes_waits_until_all_have_agreed() -> None:
    with Interrupts(deferred=True) as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.asked
        with pytest.raises(KeyboardInterrupt):
            interrupts.stop()
