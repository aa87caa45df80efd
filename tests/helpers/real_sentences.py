"""Pairs of real sentences: a model's translations of PHOENIX14T's dev split, and the references."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "real" / "scoring"


def real_pairs(hypotheses: str = "phoenix_dev/hypotheses.110000.txt") -> tuple[list[str], list[str]]:
    """Returns hypotheses and references; skips the test if they are not there."""
    path = FOLDER / hypotheses
    if not path.is_file():
        pytest.skip("the real outputs are not there")

    def sentences(file: Path) -> dict[str, str]:
        lines = file.read_text(encoding="utf-8").splitlines()
        return {clip: text for clip, _, text in (line.partition("|") for line in lines)}

    found, references = sentences(path), sentences(path.with_name("references.txt"))
    assert found.keys() == references.keys()
    return [found[clip] for clip in references], list(references.values())
