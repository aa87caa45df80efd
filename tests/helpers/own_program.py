"""A program of a user that makes features, for `command:PROGRAM`."""

import sys
from pathlib import Path

PROGRAM = f"""#!{sys.executable}
import sys
from pathlib import Path

import numpy as np

options, listed, out = sys.argv[1:-2], *sys.argv[-2:]
for line in Path(listed).read_text().splitlines():
    name, video, start, end = line.split("\\t")
    size = Path(video).stat().st_size
    np.save(Path(out, name + ".npy"), np.outer(np.arange(1, 4 + size % 3), np.sin(np.arange(6) + size)))
"""


def write_program(path: Path, added: str = "") -> Path:
    """Writes the program, with a line `added` at its end; returns the path."""
    path.write_text(f"{PROGRAM}{added}\n")
    path.chmod(0o755)
    return path
