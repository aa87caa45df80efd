"""Arrays of a clip: what they hold, the names of their axes, and hidden states without padding."""

from pathlib import Path

import numpy as np
import pytest
import torch

from slt_cache.decoding.attention import word_attention
from slt_cache.grounding.arrays import AXES, axes_of, clip_arrays, write_arrays
from slt_cache.grounding.evidence import Reader
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.translators import SignTranslator
from slt_cache.text.tokenizer import load_tokenizer
from tests.helpers.small_causal_llms import make_causal_llm
from tests.helpers.small_llms import WIDTH, make_small_llm

DIM = 8
SENTENCES = ["schnee im norden .", "", "am tag scheint die sonne"]
LENGTHS = (5, 3, 9)


@pytest.fixture(scope="module", params=["mbart", "llama"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = tmp_path_factory.mktemp("llm") / "llm"
    (make_small_llm if request.param == "mbart" else make_causal_llm)(request.param, folder)
    tokenizer = load_tokenizer(str(folder), "de_DE" if request.param == "mbart" else None)
    llm = load_seq2seq(str(folder), tokenizer=tokenizer)
    translator = SignTranslator(DIM, llm, tokenizer.start, before=tokenizer.before).eval()
    return Reader(translator, tokenizer, np.zeros(DIM, np.float32), "de_DE")


def clips() -> list[np.ndarray]:
    return [np.random.default_rng(steps).standard_normal((steps, DIM)).astype(np.float16) for steps in LENGTHS]


def test_shapes_are_those_of_the_axes(reader: Reader, tmp_path: Path) -> None:
    for place, arrays in enumerate(clip_arrays(reader, clips(), SENTENCES)):
        known = {"clip_id": "a/b", "reference": "schnee"}
        write_arrays(tmp_path / "a.npz", {**known, **arrays})
        axes = axes_of(tmp_path / "a.npz")
        assert set(axes) == set(AXES)
        with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
            sizes: dict[str, int] = {}
            for name, names in axes.items():
                assert found[name].ndim == len(names), name
                for axis, size in zip(names, found[name].shape, strict=True):
                    assert sizes.setdefault(axis, size) == size, (name, axis)
            assert sizes["step"] == LENGTHS[place] == sizes["position"]
            assert " ".join(found["word"]) == str(found["sentence"]) == SENTENCES[place]
            np.testing.assert_allclose(found["attention"].sum(1), 1, atol=1e-5)
            of_words = word_attention(reader.translator, reader.tokenizer, clips()[place], SENTENCES[place]).weights
            for word, weights in enumerate(of_words):
                mean = found["attention"][found["word_of_token"] == word].mean(0)
                np.testing.assert_allclose(mean, weights, atol=1e-5)


def test_hidden_states_are_those_of_the_whole_model(reader: Reader) -> None:
    """The states of the tokens give the logits, and in a batch each clip has the states that it has alone."""
    translator, tokenizer = reader.translator, reader.tokenizer
    features, lengths = [torch.from_numpy(one).float() for one in clips()], torch.tensor(LENGTHS)
    ids = torch.tensor([[*tokenizer.start, *tokenizer.encode(SENTENCES[0])]]).expand(3, -1)
    with torch.no_grad():
        video, tokens = translator.kind.states(*translator.embed(torch.cat(features), lengths), ids)
        logits = translator(torch.cat(features), lengths, ids)
    head = translator.seq2seq.get_output_embeddings()
    bias = getattr(translator.seq2seq, "final_logits_bias", torch.zeros(1))
    np.testing.assert_allclose(head(tokens).detach() + bias, logits, rtol=1e-3, atol=1e-3)
    for place, found in enumerate(clip_arrays(reader, clips(), [SENTENCES[0]] * 3)):
        arrays = {name: np.asarray(value) for name, value in found.items()}
        assert arrays["video_states"].shape == (LENGTHS[place], WIDTH)
        np.testing.assert_allclose(arrays["video_states"], video[place, : LENGTHS[place]], atol=1e-4)
        first = len(tokenizer.start) - 1
        np.testing.assert_allclose(arrays["token_states"], tokens[place, first:-1], atol=1e-4)
