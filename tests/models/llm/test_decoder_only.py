"""Every family of decoder-only LLMs, tiny and with random weights: what a video is to them, alone and in a batch."""

import time
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModelForCausalLM, BertConfig, BertGenerationConfig, BertGenerationDecoder

from slt_cache.batches.targets import make_targets
from slt_cache.config import GenerationConfig, LlmConfig
from slt_cache.decoding.attention import word_attentions
from slt_cache.decoding.search import decode
from slt_cache.errors import InputError
from slt_cache.models.llm.decoder_only import limited_positions
from slt_cache.models.llm.load import _set_dropout, load_seq2seq
from slt_cache.models.translators import SignTranslator, token_loss
from slt_cache.text.prompt import has_prompt, with_prompt
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.decoding.test_decoding import Encoded
from tests.helpers.small_causal_llms import CAUSAL_FAMILIES, TOKENIZERS, make_causal_llm
from tests.helpers.small_llms import SENTENCES

DIM = 8
WINDOW = 6
"""Tokens of Gemma's and Mistral's sliding window."""
WINDOWS: dict[str, Any] = {"gemma3_text": {"sliding_window": WINDOW}, "mistral": {"sliding_window": WINDOW}}
LENGTHS = (4, 2 * WINDOW, 1, 9)
PROMPT = "Am Tag: {video} Morgen regnet es: "
Load = Callable[..., tuple[SignTranslator, Tokenizer]]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    folders: dict[tuple[str, str], Path] = {}

    def loaded(family: str, prompt: str = "{video}", **changes: Any) -> tuple[SignTranslator, Tokenizer]:
        folder = folders.setdefault((family, str(changes)), tmp_path_factory.mktemp(family) / "llm")
        if not folder.exists():
            make_causal_llm(family, folder, **WINDOWS.get(family, {}), **changes)
        tokenizer, settings = load_tokenizer(str(folder), "de_DE"), LlmConfig(name=str(folder), prompt=prompt)
        tokenizer = with_prompt(tokenizer, settings) if has_prompt(settings) else tokenizer
        seq2seq = load_seq2seq(str(folder), tokenizer=tokenizer)
        torch.manual_seed(0)
        return SignTranslator(DIM, seq2seq, tokenizer.start, before=tokenizer.before).eval(), tokenizer

    return loaded


def clips(lengths: tuple[int, ...] = LENGTHS) -> list[torch.Tensor]:
    return [torch.randn(length, DIM, generator=torch.Generator().manual_seed(length)) for length in lengths]


def targets_of(tokenizer: Tokenizer, count: int = len(LENGTHS)) -> Any:
    return make_targets([tokenizer.encode(sentence) for sentence in SENTENCES[:count]], tokenizer)


@pytest.mark.parametrize("prompt", ["{video}", PROMPT], ids=["video alone", "prompt"])
@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
@torch.no_grad()
def test_a_batch_equals_one_by_one_and_packed_equals_padded(load: Load, family: str, prompt: str) -> None:
    """Clips are longer and shorter than Gemma's and Mistral's window, and padded on the left."""
    model, tokenizer = load(family, prompt)
    targets, lengths = targets_of(tokenizer), torch.tensor(LENGTHS)
    packed = model(torch.cat(clips()), lengths, targets.decoder_input_ids)
    torch.testing.assert_close(
        model(pad_sequence(clips(), batch_first=True), lengths, targets.decoder_input_ids), packed, rtol=0, atol=1e-5
    )
    for row, clip in enumerate(clips()):
        ids = targets.decoder_input_ids[row : row + 1, : int((targets.labels[row] != -100).nonzero().max()) + 1]
        alone = model(clip, lengths[row : row + 1], ids)
        torch.testing.assert_close(packed[row, : ids.shape[1]], alone[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
@torch.no_grad()
def test_it_reads_the_prompt_the_video_and_the_sentence_as_one_text(load: Load, family: str) -> None:
    """As transformers' own class reads it: without padding, with positions and logits of its own counting."""
    model, tokenizer = load(family, PROMPT)
    [clip], ids = clips((5,)), tokenizer.encode("regen")
    words = model.seq2seq.get_input_embeddings()
    inputs = torch.tensor([[*tokenizer.start, *ids]])
    text = torch.cat([words(torch.tensor(tokenizer.before)), model.adapter(clip), words(inputs[0])]).unsqueeze(0)
    theirs = AutoModelForCausalLM.from_pretrained(model.seq2seq.name_or_path)(inputs_embeds=text).logits
    ours = model(clip, torch.tensor([5]), inputs)
    torch.testing.assert_close(ours, theirs[:, -inputs.shape[1] :], rtol=0, atol=1e-5)


@pytest.mark.parametrize("beams", [1, 5])
@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_a_batch_is_decoded_as_each_clip_alone(load: Load, family: str, beams: int) -> None:
    model, tokenizer = load(family, PROMPT)
    search = GenerationConfig(num_beams=beams, max_new_tokens=10)
    ids = tuple(map(str, LENGTHS))
    together = [Encoded(ids, torch.cat(clips()), torch.tensor(LENGTHS))]
    alone = [Encoded((name,), clip, torch.tensor([len(clip)])) for name, clip in zip(ids, clips(), strict=True)]
    found, wanted = (decode(model, batches, tokenizer, search, nbest=beams) for batches in (together, alone))
    assert [one.texts for one in found] == [one.texts for one in wanted]
    assert len({one.scores for one in found}) > 1
    for one, other in zip(found, wanted, strict=True):
        assert len(one.texts) == beams
        assert one.scores == pytest.approx(other.scores, abs=1e-4)
        assert list(one.scores) == sorted(one.scores, reverse=True)


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
@torch.no_grad()
def test_a_score_is_the_likelihood_that_training_computes(load: Load, family: str) -> None:
    """By greedy search and by beams: the mean log-probability of the tokens, the end token among them."""
    model, tokenizer = load(family, PROMPT)
    [clip] = clips((6,))
    for beams in (1, 4):
        options: dict[str, Any] = {"num_beams": beams, "max_new_tokens": 7, "do_sample": False, "output_scores": True}
        ids = model.generate(clip, torch.tensor([6]), **options).sequences[0].tolist()
        [found] = decode(
            model,
            [Encoded(("a",), clip, torch.tensor([6]))],
            tokenizer,
            GenerationConfig(num_beams=beams, max_new_tokens=7),
        )
        written = ids[len(tokenizer.start) :]
        written = written[: written.index(tokenizer.eos) + 1] if tokenizer.eos in written else written
        inputs = torch.tensor([[*tokenizer.start, *written[:-1]]])
        logits = model(clip, torch.tensor([6]), inputs)[0, -len(written) :]
        expected = logits.log_softmax(-1)[range(len(written)), written].mean()
        assert found.scores[0] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_it_learns_sentences_by_heart_and_decodes_them(load: Load, family: str) -> None:
    model, tokenizer = load(family)
    features, lengths = torch.cat(clips((4, 7))), torch.tensor([4, 7])
    sentences = ["regen und schnee .", "Größere Wolkenlücken!"]
    targets = make_targets([tokenizer.encode(one) for one in sentences], tokenizer)
    optimizer = torch.optim.AdamW(model.train().parameters(), 5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        token_loss(model(features, lengths, targets.decoder_input_ids), targets.labels, 0.1).backward()
        optimizer.step()
    found = model.eval().generate(features, lengths, num_beams=2, max_new_tokens=30)
    assert [tokenizer.decode(ids) for ids in found.sequences[:, len(tokenizer.start) :].tolist()] == sentences


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_the_loss_counts_target_tokens_alone(load: Load, family: str) -> None:
    """Label-smoothed cross-entropy of the sentence and its end token; nothing of prompt, video or padding."""
    model, tokenizer = load(family, PROMPT)
    targets, lengths = targets_of(tokenizer), torch.tensor(LENGTHS)
    logits = model(torch.cat(clips()), lengths, targets.decoder_input_ids)
    total = torch.tensor(0.0)
    for row, sentence in enumerate(SENTENCES[: len(LENGTHS)]):
        ids = [*tokenizer.encode(sentence), tokenizer.eos]
        first = len(tokenizer.start) - 1
        predicted = logits[row, first : first + len(ids)].log_softmax(-1)
        right = predicted[range(len(ids)), ids]
        total -= (0.8 * right + 0.2 * predicted.mean(-1)).sum().detach()
    loss = token_loss(logits, targets.labels, 0.2)
    torch.testing.assert_close(loss, total)
    loss.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
@torch.no_grad()
def test_sign_embeddings_begin_as_large_as_word_embeddings(load: Load, family: str) -> None:
    model, tokenizer = load(family)
    looked_up = model.seq2seq.get_input_embeddings()(torch.arange(len(tokenizer)))
    signs, _ = model.embed(100 * torch.randn(150, DIM), torch.tensor([150]))
    assert signs.std().item() == pytest.approx(looked_up.std().item(), rel=0.02)
    assert model.adapter.state_dict().keys() == {f"mlp.{n}.{w}" for n in (0, 2) for w in ("weight", "bias")} | {
        "norm.weight",
        "norm.bias",
    }


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_words_spread_one_over_the_steps_that_were_looked_at(load: Load, family: str) -> None:
    model, tokenizer = load(family, PROMPT)
    features, before = [clip.numpy() for clip in clips()], model.seq2seq.config._attn_implementation
    found = word_attentions(model, tokenizer, features, SENTENCES[: len(LENGTHS)])
    for sentence, clip, one in zip(SENTENCES, features, found, strict=False):
        assert one.words == tuple(sentence.split())
        assert one.weights.shape == (len(one.words), len(clip))
        np.testing.assert_allclose(one.weights.sum(1), 1, atol=1e-5)
    assert model.seq2seq.config._attn_implementation == before


@torch.no_grad()
def test_the_picture_is_the_attention_that_transformers_computes(load: Load) -> None:
    model, tokenizer = load("llama", PROMPT)
    [clip], ids = clips((5,)), tokenizer.encode("regen")
    words = model.seq2seq.get_input_embeddings()
    inputs = torch.tensor([*tokenizer.start, *ids])
    text = torch.cat([words(torch.tensor(tokenizer.before)), model.adapter(clip), words(inputs)]).unsqueeze(0)
    theirs = AutoModelForCausalLM.from_pretrained(model.seq2seq.name_or_path, attn_implementation="eager")
    layers = torch.cat(theirs(inputs_embeds=text, output_attentions=True).attentions)  # [layers, heads, T, T]
    first, video = text.shape[1] - len(ids) - 1, len(tokenizer.before)
    mean = layers.mean((0, 1))[first : first + len(ids), video : video + 5]
    expected = (mean / mean.sum(1, keepdim=True)).mean(0)
    [found] = word_attentions(model, tokenizer, [clip], ["regen"])
    np.testing.assert_allclose(found.weights[0], expected, atol=1e-5)


def test_learned_positions_end_and_the_others_do_not(load: Load) -> None:
    for family in CAUSAL_FAMILIES:
        assert (load(family)[0].positions is None) == (family not in ("gpt2",))
    model, tokenizer = load("gpt2", PROMPT, max_position_embeddings=48)
    assert model.target_positions == 12 + len(tokenizer.start)
    assert model.positions == 48 - len(tokenizer.before) - 12 - len(tokenizer.start)


def test_what_there_are_no_positions_for_is_not_read_and_not_written(load: Load) -> None:
    model, tokenizer = load("gpt2", max_position_embeddings=32)
    assert (model.positions, model.target_positions) == (23, 9)
    [long, short] = clips((40, 3))
    batch = Encoded(("long", "short"), torch.cat([long, short]), torch.tensor([40, 3]))
    [cut, whole] = decode(model, [batch], tokenizer, GenerationConfig(num_beams=2, max_new_tokens=100))
    assert (cut.steps_left_out, whole.steps_left_out) == (17, 0)
    [same] = decode(model, [Encoded(("a",), long[:23], torch.tensor([23]))], tokenizer, GenerationConfig(num_beams=2))
    assert cut.texts == same.texts
    with pytest.raises(InputError, match="has 40 steps of features, but the LLM has only 23 positions"):
        model(long, torch.tensor([40]), torch.tensor([tokenizer.start]))
    with pytest.raises(InputError, match="has 10 target tokens, but the LLM has only 9 positions"):
        model(short, torch.tensor([3]), torch.full((1, 10), 5))
    with pytest.raises(InputError, match=r"llm\.prompt: its .* tokens before the video leave none"):
        load("gpt2", "Am Tag scheint die Sonne, im Süden regnet es. {video}", max_position_embeddings=32)


def test_dropout_is_set_where_the_config_has_it(tmp_path: Path) -> None:
    for family, names in {
        "gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
        "xglm": ("dropout", "attention_dropout"),
        "llama": ("attention_dropout",),
    }.items():
        make_causal_llm(family, tmp_path / family)
        config = load_seq2seq(str(tmp_path / family), dropout=0.37).config
        assert [getattr(config, name) for name in names] == [0.37] * len(names)
    assert load_seq2seq(str(tmp_path / "xglm")).config.layerdrop == 0


@pytest.mark.parametrize(
    ("kind", "changed", "unchanged"),
    [
        ("gpt_neo", ("embed_dropout", "resid_dropout", "attention_dropout"), ("classifier_dropout",)),
        ("biogpt", ("hidden_dropout_prob", "attention_probs_dropout_prob", "activation_dropout"), ()),
        ("starcoder2", ("residual_dropout", "embedding_dropout", "attention_dropout"), ()),
        ("mpt", ("resid_pdrop", "emb_pdrop"), ("attn_config.attn_pdrop",)),  # an integer in transformers
        ("dbrx", ("resid_pdrop", "emb_pdrop", "attn_config.attn_pdrop"), ()),
        ("gpt2", ("resid_pdrop", "embd_pdrop", "attn_pdrop"), ("summary_first_dropout",)),
    ],
)
def test_dropout_has_another_name_in_every_class(
    kind: str, changed: tuple[str, ...], unchanged: tuple[str, ...]
) -> None:
    config, before = AutoConfig.for_model(kind), AutoConfig.for_model(kind)
    _set_dropout("llm", config, 0.37)
    assert [attrgetter(name)(config) for name in changed] == [0.37] * len(changed)
    assert [attrgetter(name)(config) for name in unchanged] == [attrgetter(name)(before) for name in unchanged]
    with pytest.raises(InputError, match=r"llm_training\.dropout: llm has no dropout"):
        _set_dropout("llm", AutoConfig.for_model("mamba"), 0.1)


def test_a_fresh_one_has_the_same_shape_and_other_weights(tmp_path: Path) -> None:
    make_causal_llm("gemma3_text", tmp_path)
    trained, fresh = load_seq2seq(str(tmp_path)), load_seq2seq(str(tmp_path), pretrained=False)
    assert {k: v.shape for k, v in trained.state_dict().items()} == {k: v.shape for k, v in fresh.state_dict().items()}
    assert not torch.equal(trained.state_dict()["lm_head.weight"], fresh.state_dict()["lm_head.weight"])


def test_a_model_that_sees_the_tokens_to_come_is_refused(tmp_path: Path) -> None:
    """It would learn to copy them, and write nonsense."""
    shape: Any = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertGenerationDecoder(BertGenerationConfig(vocab_size=99, is_decoder=False, **shape)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="BertGenerationDecoder attends in both directions"):
        load_seq2seq(str(tmp_path))
    BertConfig(vocab_size=99, **shape).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="model_type bert, which is neither an encoder-decoder nor a decoder-only LLM"):
        load_seq2seq(str(tmp_path))


def test_embeddings_are_measured_as_the_model_scales_them(load: Load) -> None:
    for family in ("gemma3_text", "xglm"):
        model, _ = load(family)
        table = model.seq2seq.get_input_embeddings().weight.detach() * 32**0.5
        assert model.kind.words is not None
        torch.testing.assert_close(model.kind.words.mean.float(), table.mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.kind.words.std.float(), table.std(0, correction=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("streams", [1, 2])
def test_sign_embeddings_start_where_the_words_are(load: Load, streams: int) -> None:
    """The mean of Gemma's words is 0.43 of their length, and it hardly reads a video that lacks this part: after
    four epochs dev BLEU-4 was 4.6 instead of 19.7 (RESULTS.md)."""
    model, _ = load("gemma3_text")
    words = model.seq2seq.get_input_embeddings()
    with torch.no_grad():
        words.weight += torch.linspace(-2, 2, 32)
        words.weight *= torch.linspace(0.5, 2, 32)
    fresh = SignTranslator((8,) * streams if streams > 1 else 8, model.seq2seq, model.start)
    lengths = torch.full((512,) if streams == 1 else (512, streams), 4)
    with torch.no_grad():
        embeds, _ = fresh.embed(torch.randn(512, 4, 8 * streams), lengths)
    table = words.weight.detach() * 32**0.5
    found, expected = embeds.flatten(0, 1), table.mean(0)
    assert torch.nn.functional.cosine_similarity(found.mean(0), expected, dim=0) > 0.99
    assert found.norm(dim=1).mean().item() == pytest.approx(table.norm(dim=1).mean().item(), rel=0.05)
    assert found.std(0)[0] < found.std(0)[-1]


def save_class(kind: str, folder: Path) -> None:
    """Writes a small model of a class that has no maker, with GPT-2's tokenizer."""
    tokenizer = TOKENIZERS["gpt2"](SENTENCES)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.2}
    if kind == "opt":
        shape |= {"ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 256}
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **shape)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(("kind", "positions"), [("opt", 191), ("bloom", None), ("mamba", None)])
def test_a_class_without_a_row_works_too(kind: str, positions: int | None, tmp_path: Path) -> None:
    """With positions that end and are counted otherwise (OPT), biases of attention (BLOOM), or recurrent (Mamba)."""
    save_class(kind, tmp_path)
    tokenizer = load_tokenizer(str(tmp_path), None)
    model = SignTranslator(DIM, load_seq2seq(str(tmp_path), tokenizer=tokenizer), tokenizer.start).eval()
    assert model.positions == positions
    search, ids = GenerationConfig(num_beams=3, max_new_tokens=6), tuple(map(str, LENGTHS))
    alone = [Encoded((name,), clip, torch.tensor([len(clip)])) for name, clip in zip(ids, clips(), strict=True)]
    together = [Encoded(ids, torch.cat(clips()), torch.tensor(LENGTHS))]
    found, wanted = (decode(model, batches, tokenizer, search) for batches in (together, alone))
    assert [one.texts for one in found] == [one.texts for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)


@pytest.mark.parametrize("kind", ["gptj", "codegen", "mpt"])
def test_a_table_of_fixed_positions_ends_where_the_model_fails(kind: str) -> None:
    shape = {"hidden_size": 32, "n_embd": 32, "d_model": 32, "n_layer": 1, "n_layers": 1, "n_head": 4, "n_heads": 4}
    table = {"n_positions": 16} if kind != "mpt" else {"max_seq_len": 16}
    config = AutoConfig.for_model(kind, vocab_size=40, rotary_dim=4, bos_token_id=1, eos_token_id=1, **shape, **table)
    model = AutoModelForCausalLM.from_config(config).eval()
    assert limited_positions(model) == 16
    with torch.no_grad():
        model(inputs_embeds=torch.zeros(1, 16, 32), use_cache=False)
        with pytest.raises((IndexError, RuntimeError)):
            model(inputs_embeds=torch.zeros(1, 17, 32), use_cache=False)


@pytest.mark.parametrize("kind", ["rwkv", "openai-gpt"])
def test_a_class_that_cannot_search_from_embeddings_is_one_line(kind: str, tmp_path: Path) -> None:
    save_class(kind, tmp_path)
    with pytest.raises(
        InputError, match=r"cannot generate from embeddings by beam search .* Use another LLM"
    ) as raised:
        load_seq2seq(str(tmp_path))
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_thirty_two_clips_together_take_well_under_half_the_time_of_one_by_one(tmp_path: Path) -> None:
    layers = {"num_hidden_layers": 6, "layer_types": ["sliding_attention"] * 5 + ["full_attention"]}
    shape: Any = {"hidden_size": 256, "intermediate_size": 1024, "head_dim": 64, "initializer_range": 0.05, **layers}
    make_causal_llm("gemma3_text", tmp_path, **shape)
    tokenizer = load_tokenizer(str(tmp_path), "de_DE")
    model = SignTranslator(DIM, load_seq2seq(str(tmp_path), tokenizer=tokenizer), tokenizer.start).eval()
    lengths = tuple(range(30, 62))
    ids, search = tuple(map(str, lengths)), GenerationConfig(num_beams=5, max_new_tokens=20)
    together = [Encoded(ids, torch.cat(clips(lengths)), torch.tensor(lengths))]
    alone = [Encoded((name,), clip, torch.tensor([len(clip)])) for name, clip in zip(ids, clips(lengths), strict=True)]
    seconds, found = [], []
    for batches in (together, alone):
        begun = time.perf_counter()
        found.append(decode(model, batches, tokenizer, search))
        seconds.append(time.perf_counter() - begun)
    assert [one.texts for one in found[0]] == [one.texts for one in found[1]]
    for one, other in zip(*found, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)
    assert seconds[0] < 0.4 * seconds[1], seconds
