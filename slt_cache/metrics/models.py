"""Models of the metrics that need one: which one is used, under which name a signature states it, and the packages that
compute some of them, in a process of their own."""

import hashlib
import json
import subprocess
import sys
import tempfile
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.children import end_program, ending, last_line, start_program
from slt_cache.errors import InputError, SltCacheError
from slt_cache.hashes import file_sha256
from slt_cache.metrics.base import NeuralMetric
from slt_cache.metrics.content_words import short_code
from slt_cache.metrics.normalization import TextChoices

PROGRAM = Path(__file__).with_name("package_program.py")
WEIGHTS = ("*.safetensors", "*.bin", "*.ckpt", "*.data-*")
"""Patterns of files with weights, the preferred first."""
Texts = tuple[str, ...]


def stated(model: str) -> str:
    """Returns a model as signatures state it: a hub name as it is, a folder or file by its own name and the beginning
    of the SHA-256 of its weights, since a path means nothing elsewhere."""
    path = Path(model)
    if not path.exists():
        return model
    found = [path] if path.is_file() else next(filter(None, (sorted(path.rglob(one)) for one in WEIGHTS)), [])
    digest = hashlib.sha256("".join(map(file_sha256, found)).encode()).hexdigest()
    return f"{path.resolve().name}@{digest[:12]}"


def package_metric(key: str, label: str, modules: tuple[str, ...], install: str) -> NeuralMetric:
    """Returns a metric that a package computes, which is imported by one of these names and installed by another."""
    check = partial(_require_package, key, modules, install)
    return NeuralMetric(key=key, label=label, measure=partial(_from_package, key, install), check=check)


def _require_package(key: str, modules: tuple[str, ...], install: str, choices: TextChoices) -> None:
    """Raises InputError if this process's own interpreter lacks the package, or if the named one does not exist."""
    if choices.python is None and not any(map(find_spec, modules)):
        raise InputError(_missing(key, f"no module named {modules[0]}", install, choices))
    if choices.python is not None and not Path(choices.python).is_file():
        raise InputError(f"scoring.python {choices.python}: no such file. Name an interpreter, such as DIR/bin/python.")


def _missing(key: str, why: str, install: str, choices: TextChoices) -> str:
    """Returns what to install for a metric."""
    where = "this program's own Python" if choices.python is None else choices.python
    return (
        f"metric {key}: {where} has no package for it ({why}). Install it into an environment of its own "
        f"(python3 -m venv {key} && {key}/bin/pip install {install}), and set scoring.python={key}/bin/python "
        f"(score: --metric-python {key}/bin/python)."
    )


@lru_cache(maxsize=4)
def _answer(python: str | None, request: str) -> dict[str, Any]:
    """Returns what the program answers to a request, which is JSON; once for each, since scores and tests of their
    difference need the same. Raises SltCacheError if it dies."""
    with tempfile.TemporaryFile() as errors:
        arguments = [python or sys.executable, str(PROGRAM)]
        try:
            process = start_program(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        except OSError as error:
            raise InputError(f"scoring.python {python}: cannot be started ({error.strerror}).") from error
        try:
            answer, _ = process.communicate(request.encode())
        finally:
            code = end_program(process)
        if code or not answer:
            raise SltCacheError(f"{arguments[0]}, which computes a metric, {ending(code)}: {last_line(errors)}")
    found: dict[str, Any] = json.loads(answer)
    return found


def _from_package(
    key: str, install: str, hypotheses: Texts, references: Texts, choices: TextChoices
) -> tuple[np.ndarray, str]:
    """Returns the value that the package of a metric gives to each sentence, float64 [sentences], and how: package,
    version, model. Raises InputError for a missing package, and for a model that cannot be loaded.

    An empty sentence is not given to the package: its value is 1 if its reference is empty too, and else 0."""
    filled = [place for place, pair in enumerate(zip(hypotheses, references, strict=True)) if all(map(str.strip, pair))]
    request = {
        "metric": key,
        "model": choices.models.get(key),
        "languages": [short_code(one) for one in choices.languages],
        "hypotheses": [hypotheses[place] for place in filled],
        "references": [references[place] for place in filled],
    }
    found = _answer(choices.python, json.dumps(request))
    if "missing" in found:
        raise InputError(_missing(key, found["missing"], install, choices))
    if "unreadable" in found:
        name = found["model"]
        raise InputError(
            f"metric {key}: the model {name} cannot be loaded ({found['unreadable']}). Name a folder or a hub name: "
            f"scoring.models.{key}=FOLDER, or --metric {key}=FOLDER; with a network, hf download {name} "
            "--local-dir FOLDER fetches it."
        )
    values = np.array([float(one.strip() == other.strip()) for one, other in zip(hypotheses, references, strict=True)])
    values[filled] = found["values"]
    return values, f"{found['tool']}|model:{stated(found['model'])}{found['details']}"
