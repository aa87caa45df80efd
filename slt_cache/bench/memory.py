"""Measures the memory and time of a stage-2 training step on a made-up batch for an LLM of a published one's shape, in
a process of its own that loads it from a folder like the published one. Needs no run and no corpus."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader

from slt_cache.batches.features import FeatureBatch
from slt_cache.batches.targets import Targets
from slt_cache.bench.measure import (
    RUN,
    VOCABULARY,
    BenchShape,
    MeasuredTask,
    Pass,
    make_translator,
    one_pass,
    ratios,
    run_loop,
    shape_named,
    with_lora,
)
from slt_cache.children import ChildEnded, in_a_process
from slt_cache.config import Config, LlmConfig, LoraConfig
from slt_cache.device import peak_memory, pick_device
from slt_cache.errors import SltCacheError
from slt_cache.files import scratch_folder
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.progress import log

CLIPS, STEPS, TOKENS, DIM = 16, 50, 20, 512
"""B, N, L and C of the batch."""
UPDATES = 2
"""The second one holds the optimizer's state in addition to its activations."""
PASSES, UPDATES_A_PASS = 8, 2
"""Timed passes, after one that warms up."""
GIGABYTE = 1e9

Result = TypeVar("Result")


def bench_memory(config: Config, shape: str = RUN) -> dict[str, Any]:
    """Returns the peak gigabytes (10^9 bytes) of training the whole LLM and of training LoRA, see `peak_of`. Without
    another shape it is MBart-large's. Raises SltCacheError if the machine's memory is too small."""
    measured = shape_named("mbart-large" if shape == RUN else shape)
    lora = config.llm.lora or measured.lora or LoraConfig()
    values = {**peak_of(measured, with_lora(config, None)), **peak_of(measured, with_lora(config, lora))}
    return {**values, "lora_rank": lora.r, "device": str(pick_device(config.compute.device, config.compute.precision))}


def peak_of(shape: BenchShape, config: Config, vocabulary: int = VOCABULARY, timed: bool = False) -> dict[str, Any]:
    """Returns the peak gigabytes (10^9 bytes) of a training with these settings: of its process, Python and torch
    included, and of what is allocated on the GPU, if there is one. If `timed`, also the seconds of an update, and of
    a step of the bare LLM on the same sign embeddings, both measured after the peak."""
    lora = config.llm.lora is not None
    with scratch_folder() as folder:
        parameters = _save(folder / "llm", shape, vocabulary)
        log(f"memory: {UPDATES} updates of {parameters / 1e6:.0f} M parameters{', LoRA' if lora else ''}")
        if timed:
            log(f"timing {CLIPS} made-up clips of {STEPS} steps and {TOKENS} tokens, in {PASSES} passes")
        peaks, times = _in_a_process(_measured, folder / "llm", config, vocabulary, timed)
    name = "lora_step" if lora else "step"
    return {
        "parameters": parameters,
        **{f"{name}_peak_{where}": round(peak / GIGABYTE, 2) for where, peak in peaks.items()},
        "clips": CLIPS,
        "steps_a_clip": STEPS,
        "tokens_a_clip": TOKENS,
        **{f"made_up_{name}": value for name, value in times.items()},
    }


def _in_a_process(work: Callable[..., Result], *arguments: Any) -> Result:
    """Calls `work` in a fresh process: earlier allocations would count otherwise."""
    try:
        return in_a_process("bench llm: the process that trains", work, *arguments)
    except ChildEnded as error:
        raise SltCacheError(f"{error} End other programs, or use a machine with more memory.") from error


def _save(folder: Path, shape: BenchShape, vocabulary: int) -> int:
    """Saves an LLM of random weights and returns its number of parameters."""
    model = shape.make(vocabulary)
    model.save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


def _measured(folder: Path, config: Config, vocabulary: int, timed: bool) -> tuple[dict[str, int], dict[str, float]]:
    """Returns the peak bytes after some updates, of the process and on the GPU if there is one; and, if `timed`, the
    seconds and ratios of those that follow."""
    device = pick_device(config.compute.device, config.compute.precision)
    llm = config.llm if config.llm.lora is not None else LlmConfig()
    types = {"dtype": getattr(torch, llm.dtype), "quantize": llm.quantize}
    seq2seq = load_seq2seq(str(folder), dropout=config.llm_training.dropout, **types)
    model = make_translator(config, DIM, seq2seq, (3,))
    batch = _batch(vocabulary)
    one: Any = [batch]
    peaks: dict[str, int] = {}
    passes: list[Pass] = []

    def measure(task: MeasuredTask) -> Iterator[FeatureBatch]:
        yield from [batch] * UPDATES
        peaks["gigabytes"] = peak_memory(torch.device("cpu"))
        if device.type == "cuda":
            peaks["gpu_gigabytes"] = peak_memory(device)
        for _ in range(PASSES + 1 if timed else 0):
            passes.append((yield from one_pass(task, config, device, repeat(batch), UPDATES_A_PASS)))

    task = MeasuredTask(config, model, DataLoader(one, batch_size=None), measure)
    run_loop(task, config.llm_training, config, device)
    return peaks, _times(passes[1:]) if timed else {}


def _times(passes: Sequence[Pass]) -> dict[str, float]:
    """Returns the seconds of a step of either kind, and how many times longer one takes than the other."""
    return {
        "seconds": round(median(one.cached for one in passes) / UPDATES_A_PASS, 3),
        "seconds_bare_llm": round(median(one.bare for one in passes) / UPDATES_A_PASS, 3),
        **ratios(passes),
        "steps_timed": len(passes) * UPDATES_A_PASS,
    }


def _batch(vocabulary: int) -> FeatureBatch:
    tokens = torch.randint(4, vocabulary, (CLIPS, TOKENS))
    return FeatureBatch(
        ids=tuple(map(str, range(CLIPS))),
        features=torch.randn(CLIPS, STEPS, DIM),
        lengths=torch.full((CLIPS,), STEPS),
        targets=Targets(tokens, tokens.roll(-1, 1)),
    )
