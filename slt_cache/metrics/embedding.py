"""Cosine of sentence embeddings (Reimers and Gurevych 2019) of hypothesis and reference, by any sentence encoder of
transformers: a folder or hub name. The embedding pools the last hidden states as the encoder's own files say, and else
is their mean."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from slt_cache.errors import InputError
from slt_cache.metrics.base import NeuralMetric
from slt_cache.metrics.models import Texts, stated
from slt_cache.metrics.normalization import TextChoices

DEFAULT = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
BATCH = 64
"""Sentences in one batch."""
SETTING = "scoring.models.embedding "
_MODULES = {"Transformer", "Pooling", "Normalize"}
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}


def _measure(hypotheses: Texts, references: Texts, choices: TextChoices) -> tuple[np.ndarray, str]:
    return _cosines(hypotheses, references, choices.models.get("embedding", DEFAULT))


@lru_cache(maxsize=4)
def _cosines(hypotheses: Texts, references: Texts, name: str) -> tuple[np.ndarray, str]:
    from transformers import __version__ as transformers

    encoder = _Encoder(name)
    one, other = encoder.embed(hypotheses), encoder.embed(references)
    how = f"|pooling:{encoder.pooling}|tokens:{encoder.longest}|transformers:{transformers}"
    return (one * other).sum(axis=1), f"embedding-cosine|model:{stated(name)}{how}"


class _Encoder:
    """Sentence encoder, with what sentence-transformers writes next to it."""

    def __init__(self, name: str):
        """Raises InputError if it cannot be loaded, or is more than a transformer with pooling."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        from slt_cache.text.pretrained import loading

        with loading(name, SETTING):
            modules = [one.get("type", "").rpartition(".")[2] for one in _file(name, "modules.json", [])]
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            self.model: Any = AutoModel.from_pretrained(name, trust_remote_code=False).eval()
            limits = _file(name, "sentence_bert_config.json", {})
            self.pooling = _pooling(_file(name, "1_Pooling/config.json", {}))
        if not {*modules} <= _MODULES or self.pooling not in _POOLINGS.values():
            what = ", ".join([*(one for one in modules if one not in _MODULES), f"pooling {self.pooling}"])
            raise InputError(
                f"{SETTING}{name}: it has modules that are not read here ({what}). Use an encoder with "
                f"{', '.join(_POOLINGS.values())} pooling and nothing else."
            )
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)
        own = getattr(self.model.config, "max_position_embeddings", 512)
        self.longest: int = limits.get("max_seq_length") or min(own, self.tokenizer.model_max_length)
        self.lowercase = bool(limits.get("do_lower_case"))

    def embed(self, texts: Texts) -> np.ndarray:
        """Returns embeddings of length 1, float64 [sentences, D]."""
        import torch

        found = []
        for start in range(0, len(texts), BATCH):
            batch = [text.lower() if self.lowercase else text for text in texts[start : start + BATCH]]
            options = {"padding": True, "truncation": True, "max_length": self.longest, "return_tensors": "pt"}
            inputs = self.tokenizer(batch, **options).to(self.device)
            with torch.inference_mode():
                hidden = self.model(**inputs).last_hidden_state.double()  # [B, L, D]
            mask = inputs["attention_mask"].unsqueeze(-1)
            found.append(self._pooled(hidden, mask).cpu().numpy())
        whole: np.ndarray = np.concatenate(found)
        whole /= np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-12)
        return whole

    def _pooled(self, hidden: Any, mask: Any) -> Any:
        if self.pooling == "cls":
            return hidden[:, 0]
        if self.pooling == "max":
            return hidden.masked_fill(mask == 0, -1e9).amax(1)
        return (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)


def _file(name: str, file: str, default: Any) -> Any:
    """Returns the content of a file next to the encoder, from its folder, the download cache or the hub; a default
    without it."""
    from transformers.utils.hub import cached_file

    path = cached_file(
        name,
        file,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return default if path is None else json.loads(Path(path).read_text(encoding="utf-8"))


def _pooling(settings: dict[str, Any]) -> str:
    """Returns the pooling of sentence-transformers' settings; the mean without any."""
    named = [_POOLINGS.get(key, key) for key, value in settings.items() if key.startswith("pooling_mode_") and value]
    return str(settings.get("pooling_mode") or "+".join(named) or "mean")


EMBEDDING = NeuralMetric(key="embedding", label="Embedding cosine", measure=_measure)
