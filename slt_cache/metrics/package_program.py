"""Program that computes a metric by its package, as a child process of models.py: reads one JSON object on stdin and
writes one on stdout. It needs nothing of slt_cache, so that any interpreter that has the package can run it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

Found = tuple[str, list[float], str]
"""Distribution that computed the values, a value per sentence, and the end of the description."""


def bertscore(request: dict[str, Any]) -> Found:
    """Returns BERTScore (Zhang et al. 2020): F1 of the greedy matching of contextual embeddings, without idf weights
    and without rescaling."""
    from bert_score import BERTScorer
    from bert_score.utils import lang2model, model2layers
    from transformers import AutoConfig
    from transformers import __version__ as transformers

    named = request["model"] or lang2model[(request["languages"] or ["other"])[0]]
    model, _, layer = named.rpartition(":")
    if not model or not layer.isdigit():
        model, layer = named, ""
    request["model"] = model
    config = AutoConfig.from_pretrained(model)
    layers = int(layer or model2layers.get(Path(model).name, config.num_hidden_layers))
    scorer = BERTScorer(model_type=model, num_layers=layers)
    # A tokenizer without a limit has one of 1e30, which is too large a number for its own code.
    longest = getattr(config, "max_position_embeddings", 512)
    scorer._tokenizer.model_max_length = min(scorer._tokenizer.model_max_length, longest)
    values = scorer.score(request["hypotheses"], request["references"])[2].tolist() if request["hypotheses"] else []
    return "bert-score", values, f"|layer:{layers}|idf:no|rescaled:no|transformers:{transformers}"


def bleurt(request: dict[str, Any]) -> Found:
    """Returns BLEURT (Sellam et al. 2020), of Google's checkpoints by its own package, of others by the port to
    PyTorch."""
    model = request["model"] = request["model"] or "lucadiliello/BLEURT-20"
    references, candidates = request["references"], request["hypotheses"]
    if (Path(model) / "bleurt_config.json").is_file():
        from bleurt.score import BleurtScorer

        scorer = BleurtScorer(model)
        return "BLEURT", scorer.score(references=references, candidates=candidates) if references else [], ""
    from bleurt_pytorch import BleurtForSequenceClassification, BleurtTokenizer  # isort: skip  # first: it may be missing
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = BleurtTokenizer.from_pretrained(model)
    network = BleurtForSequenceClassification.from_pretrained(model).eval().to(device)
    values: list[float] = []
    for start in range(0, len(references), 32):
        batch = [texts[start : start + 32] for texts in (references, candidates)]
        inputs = tokenizer(*batch, padding="longest", truncation=True, max_length=512, return_tensors="pt").to(device)
        with torch.inference_mode():
            values += network(**inputs).logits.flatten().tolist()
    return "bleurt-pytorch", values, ""


def comet(request: dict[str, Any]) -> Found:
    """Returns COMET (Rei et al. 2020) with an empty source, since the source of sign language translation is a
    video."""
    from comet import download_model, load_from_checkpoint  # isort: skip  # first: it may be missing
    import torch

    model = request["model"] = request["model"] or "Unbabel/wmt22-comet-da"
    path = Path(model)
    files = [path] if path.is_file() else sorted(path.rglob("*.ckpt"))
    network = load_from_checkpoint(str(files[0]) if files else download_model(model))
    pairs = zip(request["hypotheses"], request["references"], strict=True)
    samples = [{"src": "", "mt": hypothesis, "ref": reference} for hypothesis, reference in pairs]
    gpus = int(torch.cuda.is_available())
    values = network.predict(samples, batch_size=16, gpus=gpus, progress_bar=False).scores if samples else []
    return "unbabel-comet", [float(value) for value in values], "|source:empty"


METRICS: dict[str, Callable[[dict[str, Any]], Found]] = {"bertscore": bertscore, "bleurt": bleurt, "comet": comet}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Returns the values and how they were computed, or why they cannot be."""
    try:
        tool, values, details = METRICS[request["metric"]](request)
        how = f"{tool}|version:{version(tool)}"
    except ImportError as error:
        return {"missing": str(error)}
    except (OSError, LookupError, ValueError, RuntimeError, TypeError) as error:
        why = f"{type(error).__name__}: {error}".strip().split("\n")[0]
        return {"unreadable": why, "model": request["model"]}
    return {"tool": how, "values": values, "details": details, "model": request["model"]}


def main() -> None:
    """Answers one request. Whatever packages print goes to stderr."""
    stdout = os.dup(1)
    os.dup2(2, 1)
    found = answer(json.load(sys.stdin))
    with os.fdopen(stdout, "w", encoding="utf-8") as output:
        json.dump(found, output)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose comet.py is not the package of that name
    main()
