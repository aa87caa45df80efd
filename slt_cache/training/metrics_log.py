"""metrics.jsonl: one line for every logging step and every epoch; and a line an epoch on the terminal."""

import json
import sys
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from slt_cache.files import write_text


class MetricsLog:
    """Appends to the file; lines of epochs after `done`, left by a killed run, are taken out first."""

    def __init__(self, path: Path, done: int):
        self.path = path
        self.terminal: TextIO = sys.stderr
        kept = [line for line in read_metrics(path) if line["epoch"] <= done]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def step(self, epoch: int, step: int, loss: float, lr: float) -> None:
        self._append({"kind": "step", "epoch": epoch, "step": step, "loss": loss, "lr": lr})

    def epoch(self, name: str, epoch: int, step: int, loss: float, scores: dict[str, float], seconds: float) -> None:
        self._append({"kind": "epoch", "epoch": epoch, "step": step, "loss": loss, "seconds": seconds, "dev": scores})
        dev = f", dev BLEU-4 {scores['bleu4']:.1f}" if scores else ""
        tqdm.write(f"{name} epoch {epoch}: loss {loss:.3f}{dev}, {seconds:.0f} s", file=self.terminal)

    def _append(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that was cut off by a kill is left out."""
    if not path.is_file():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
