"""Contrast over several processes: values and gradients are those of one process with the whole batch."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slt_cache.distributed.processes import all_reduce_sum, join, leave, rank, size
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.base import Seen, Setup
from slt_cache.training.objectives.registry import OBJECTIVES, make_objectives
from tests.helpers.preloaded import LATE
from tests.training.objectives.conftest import WIDTH

TERMS = [name for name, row in OBJECTIVES.items() if row.file]


def loss(terms: Any, seen: Seen, clips: int) -> dict[str, torch.Tensor]:
    """Values as an optimizer step divides them, whose gradients are averaged over processes."""
    return {name: term(seen) / (clips / size()) for name, term in terms.items()}


def gradient(weight: torch.Tensor) -> torch.Tensor:
    assert weight.grad is not None
    return weight.grad


def _member(number: int, port: int, setup: Setup, parts: list[Seen], clips: int, out: Path) -> None:
    torch.set_num_threads(1)
    ranks = {name: str(number) for name in ("RANK", "LOCAL_RANK", "GROUP_RANK")}
    sizes = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "2")
    os.environ |= {**ranks, **sizes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    join()
    torch.manual_seed(1)
    terms = make_objectives(TERMS, setup)
    values = loss(terms, parts[rank()], clips)
    sum(values.values(), torch.tensor(0.0)).backward()
    means = all_reduce_sum([value.item() / size() for value in values.values()])
    grads = {f"{name}.{key}": gradient(w) / size() for name, t in terms.items() for key, w in t.named_parameters()}
    grads["states"] = gradient(parts[rank()].states) / size()
    torch.save((dict(zip(TERMS, means, strict=True)), grads), out / f"{number}.pt")
    leave()


@pytest.mark.parametrize("clips", [[0, 1, 2, 3, 4], [2]])
def test_two_processes_see_the_contrast_of_the_whole_batch(
    clips: list[int], see: Callable[..., Seen], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    setup = Setup(WIDTH, tokenizer)
    torch.manual_seed(1)
    terms, whole = make_objectives(TERMS, setup), see(clips)
    alone = loss(terms, whole, len(clips))
    sum(alone.values(), torch.tensor(0.0)).backward()
    parts = [see(clips[0::2]), see(clips[1::2]) if len(clips) > 1 else see(clips, counts=False)]
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LATE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    team = [
        context.Process(target=_member, args=(number, port, setup, parts, len(clips), tmp_path)) for number in (0, 1)
    ]
    for process in team:
        process.start()
    for process in team:
        process.join(120)
    assert [process.exitcode for process in team] == [0, 0]
    shares = [torch.load(tmp_path / f"{number}.pt") for number in (0, 1)]
    for name, value in alone.items():
        assert shares[0][0][name] == shares[1][0][name] == pytest.approx(value.item(), rel=1e-5), name
    for name, term in terms.items():
        for key, weight in term.named_parameters():
            summed = shares[0][1][f"{name}.{key}"] + shares[1][1][f"{name}.{key}"]
            assert torch.allclose(summed, gradient(weight), atol=1e-6), (name, key)
    for number, grads in enumerate(share[1]["states"] for share in shares):
        own = gradient(whole.states)[number::2, : grads.shape[1]]
        assert torch.allclose(grads[: len(own)], own, atol=1e-6)
