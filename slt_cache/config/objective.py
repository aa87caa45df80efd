"""Terms of the loss, by their names in slt_cache/training/objectives/registry.py."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

CROSS_ENTROPY = "cross-entropy"


def _terms(value: Any) -> Any:
    """Returns names, in a list or in one text with commas, each once and in a fixed order; the cross-entropy is always
    among them."""
    names = re.split(r"[,+\s]+", value.strip()) if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        return value
    return (CROSS_ENTROPY, *sorted({*names} - {CROSS_ENTROPY, ""}))


Terms = Annotated[tuple[str, ...], BeforeValidator(_terms)]


def require_terms(weights: Mapping[str, float], objective: Sequence[str]) -> None:
    """Raises ValueError for the weight of something that is no term of the loss."""
    unused = [name for name in weights if name not in objective]
    if unused:
        raise ValueError(
            f"objective_weights names {', '.join(unused)}, no term of the objective ({', '.join(objective)})"
        )
