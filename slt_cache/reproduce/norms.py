"""Computes the paper's figure 2: norms of the last layers of encoder and LLM in the logged updates of joint
training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from slt_cache.checkpoints.record import read_record
from slt_cache.config import Config
from slt_cache.reproduce.tables import BASE
from slt_cache.reproduce.variants import folder_of
from slt_cache.training.diagnostics import ENCODER, LLM, llm_larger
from slt_cache.training.logs import read_metrics

KINDS = {"grad_norm": "gradient", "param_norm": "parameter"}


@dataclass(frozen=True)
class Norms:
    """One kind of norm over all logged updates of all seeds."""

    kind: str
    """Kind of norm: gradient or parameter."""
    encoder: float
    """Median norm of the encoder's last layer."""
    llm: float
    """Median norm of the LLM's last layer."""
    llm_larger: float
    """Share of updates in which the LLM's norm is larger."""
    steps: int


def norms_of(seeds: Sequence[int], root: Path, config: Config) -> tuple[list[Norms], str]:
    """Returns the norms, and when the last training ended, ISO 8601. Trainings without diagnostics have no norms."""
    folders = [folder_of(root, seed, BASE, config).folder / "joint" for seed in seeds]
    lines = [line for folder in folders for line in read_metrics(folder / "metrics.jsonl") if line["kind"] == "step"]
    records = [read_record(folder / "best") for folder in folders]
    trained = max((record.finished_at for record in records if record is not None), default="")
    found = []
    for key, kind in KINDS.items():
        share, updates = llm_larger(lines, key)
        if updates:
            encoder, llm = (median(line[f"{key}/{part}"] for line in lines) for part in (ENCODER, LLM))
            found.append(Norms(kind, encoder, llm, share, updates))
    return found, trained
