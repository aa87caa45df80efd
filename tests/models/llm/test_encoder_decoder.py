"""Every family of encoder-decoders, tiny and with random weights: frames, scales and ties are the published ones."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.models.m2m_100.modeling_m2m_100 import shift_tokens_right

from slt_cache.batches.targets import make_targets
from slt_cache.config import LlmPretrainingConfig
from slt_cache.errors import InputError
from slt_cache.models.llm.load import load_seq2seq
from slt_cache.models.llm.small import make_small
from slt_cache.models.translators import SignTranslator, token_loss
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from tests.helpers.small_llms import FAMILIES, SENTENCES, make_small_llm

CODES = {"mbart": "de_DE", "mbart50": "de_DE", "nllb": "deu_Latn", "m2m100": "de"}
"""As each family spells German; the others have no codes."""
GERMAN = SENTENCES[0]
DIM = 8


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            make_small_llm(family, made[family])
        return made[family]

    return folder


def load(folder: Path, family: str) -> tuple[SignTranslator, Tokenizer]:
    tokenizer = load_tokenizer(str(folder), CODES.get(family))
    return SignTranslator(DIM, load_seq2seq(str(folder)), tokenizer.start).eval(), tokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_targets_are_framed_as_the_family_frames_its_own(folder_of: Callable[[str], Path], family: str) -> None:
    folder = folder_of(family)
    inner = AutoTokenizer.from_pretrained(folder)
    if family in CODES:
        inner.tgt_lang = CODES[family]
    labels = inner(text_target=[GERMAN, SENTENCES[6]], return_tensors="pt", padding=True).input_ids
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        theirs = model.prepare_decoder_input_ids_from_labels(labels)
    else:
        theirs = shift_tokens_right(labels, inner.pad_token_id, model.config.decoder_start_token_id)
    _, tokenizer = load(folder, family)
    targets = make_targets([tokenizer.encode(GERMAN), tokenizer.encode(SENTENCES[6])], tokenizer)
    ours = targets.decoder_input_ids
    for row in range(2):
        length = int((targets.labels[row] == tokenizer.eos).nonzero()) + 1
        assert ours[row, :length].tolist() == theirs[row, :length].tolist()
        assert targets.labels[row, length:].eq(-100).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_sign_embeddings_are_scaled_as_word_embeddings_are(folder_of: Callable[[str], Path], family: str) -> None:
    translator, tokenizer = load(folder_of(family), family)
    ids = torch.tensor([[*tokenizer.encode(GERMAN), tokenizer.eos]])
    encoder = translator.seq2seq.get_encoder()
    table = translator.seq2seq.get_input_embeddings().weight
    with torch.no_grad():
        looked_up = encoder(input_ids=ids).last_hidden_state
        given = encoder(inputs_embeds=table[ids] * translator.scale).last_hidden_state
    torch.testing.assert_close(given, looked_up)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_a_sentence_by_heart_and_decodes_it(folder_of: Callable[[str], Path], family: str) -> None:
    translator, tokenizer = load(folder_of(family), family)
    torch.manual_seed(0)
    features, lengths = torch.randn(9, DIM), torch.tensor([4, 5])
    sentences = ["regen und schnee .", "今天天气很好"]
    targets = make_targets([tokenizer.encode(one) for one in sentences], tokenizer)
    optimizer = torch.optim.AdamW(translator.parameters(), 5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        logits = translator(features, lengths, targets.decoder_input_ids)
        token_loss(logits, targets.labels, 0.0).backward()
        optimizer.step()
    found = translator.generate(features, lengths, num_beams=2, max_new_tokens=30)
    assert [tokenizer.decode(ids) for ids in found.sequences.tolist()] == sentences


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing(folder_of: Callable[[str], Path], family: str) -> None:
    translator, tokenizer = load(folder_of(family), family)
    features, lengths = torch.randn(12, DIM), torch.tensor([3, 9])
    sentences = [tokenizer.encode("regen"), tokenizer.encode(GERMAN)]
    targets, alone = make_targets(sentences, tokenizer), make_targets(sentences[:1], tokenizer)
    with torch.no_grad():
        together = translator(features, lengths, targets.decoder_input_ids)[0]
        single = translator(features[:3], lengths[:1], alone.decoder_input_ids)[0]
    torch.testing.assert_close(together[: len(single)], single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_from_scratch_has_the_same_shape_and_other_weights(folder_of: Callable[[str], Path], family: str) -> None:
    trained, fresh = load_seq2seq(str(folder_of(family))), load_seq2seq(str(folder_of(family)), pretrained=False)
    shapes, fresh_shapes = ({k: v.shape for k, v in model.state_dict().items()} for model in (trained, fresh))
    assert shapes == fresh_shapes
    assert type(trained) is type(fresh)
    words = [next(model.get_input_embeddings().parameters()) for model in (trained, fresh)]
    assert not torch.equal(*words)
    for model in (trained, fresh):
        assert (model.lm_head.weight is model.get_input_embeddings().weight) == (family != "mt5")


@torch.no_grad()
def test_a_fresh_mt5_has_no_opinion_and_keeps_its_output_layer_on_disk(tmp_path: Path) -> None:
    """Tied, as transformers 5 makes it, its logits would be tens too high."""
    model = make_small("small-mt5", LlmPretrainingConfig(), 400, 1, 2, 3).eval()
    ids = torch.randint(4, 400, (8, 20))
    logits = model(input_ids=ids, decoder_input_ids=ids).logits
    assert F.cross_entropy(logits.flatten(0, 1), ids.flatten()) < math.log(400) + 1.5
    model.save_pretrained(tmp_path)
    again = load_seq2seq(str(tmp_path)).eval()
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    assert torch.equal(again(input_ids=ids, decoder_input_ids=ids).logits, logits)


def test_no_layer_is_dropped_in_training(folder_of: Callable[[str], Path]) -> None:
    """Several processes wait for the gradient of every weight."""
    for pretrained in (True, False):
        model = load_seq2seq(str(folder_of("m2m100")), pretrained)
        assert model.get_encoder().layerdrop == model.get_decoder().layerdrop == 0


def test_a_tokenizer_of_no_known_class_does_not_lose_the_language(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(folder_of("nllb"), tmp_path / "nllb")
    settings = tmp_path / "nllb" / "tokenizer_config.json"
    changed = json.loads(settings.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings.write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(InputError, match=r"has the language code deu_Latn, but loads as .*tokenizer_class"):
        load_tokenizer(str(tmp_path / "nllb"), "deu_Latn")


@pytest.mark.parametrize("family", FAMILIES)
def test_loading_keeps_ties_and_biases(folder_of: Callable[[str], Path], family: str) -> None:
    folder = folder_of(family)
    ours, theirs = load_seq2seq(str(folder)), AutoModelForSeq2SeqLM.from_pretrained(folder)
    tied = ours.get_output_embeddings().weight is ours.get_input_embeddings().weight
    assert tied == (family != "mt5")
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    assert hasattr(ours, "final_logits_bias") == (family in ("mbart", "mbart50", "bart"))


def test_dropout_is_set_whatever_the_family_calls_it(folder_of: Callable[[str], Path]) -> None:
    for family in ("mbart", "t5"):
        model = load_seq2seq(str(folder_of(family)), dropout=0.37)
        assert any(getattr(module, "p", getattr(module, "dropout", None)) == 0.37 for module in model.modules())


def test_published_search_settings_do_not_reach_ours(folder_of: Callable[[str], Path]) -> None:
    assert AutoModelForSeq2SeqLM.from_pretrained(folder_of("bart")).generation_config.no_repeat_ngram_size == 3
    config = load_seq2seq(str(folder_of("bart"))).generation_config
    assert config.no_repeat_ngram_size in (None, 0)
    assert config.forced_bos_token_id is None
    assert config.num_beams in (None, 1)


def test_positions_end_where_they_are_learned(folder_of: Callable[[str], Path]) -> None:
    ends = {family: load(folder_of(family), family)[0].positions for family in FAMILIES}
    assert ends == {"mbart": 256, "mbart50": 256, "bart": 256, "mt5": None, "t5": None, "nllb": None, "m2m100": None}


@pytest.mark.parametrize("family", sorted(CODES))
def test_a_missing_or_wrong_language_names_the_codes(folder_of: Callable[[str], Path], family: str) -> None:
    with pytest.raises(InputError, match=r"llm\.language: not set.*--set llm\.language=CODE.* (ar|ace)"):
        load_tokenizer(str(folder_of(family)), None)
    with pytest.raises(InputError, match=r"no code 'deu'") as refused:
        load_tokenizer(str(folder_of(family)), "deu")
    assert CODES[family] in str(refused.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_tokenizer_needs_no_model_beside_it(
    folder_of: Callable[[str], Path], family: str, tmp_path: Path
) -> None:
    _, tokenizer = load(folder_of(family), family)
    tokenizer.save(tmp_path)
    again = load_tokenizer(str(tmp_path), CODES.get(family))
    assert (again.start, again.pad, again.eos, len(again)) == (
        tokenizer.start,
        tokenizer.pad,
        tokenizer.eos,
        len(tokenizer),
    )
    assert again.encode(GERMAN) == tokenizer.encode(GERMAN)
    assert max(*again.start, *again.encode(GERMAN)) < len(again)


def test_a_hub_model_that_cannot_be_had_says_which_files_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError) as refused:
        load_seq2seq("nobody/no-such-model")
    for part in ("config.json", "model.safetensors", "tokenizer.json", "--local-dir", "llm.name", "HF_HUB_OFFLINE=1"):
        assert part in str(refused.value)


def test_a_folder_without_a_model_says_what_it_must_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no model can be loaded from this folder.*must hold config\.json"):
        load_seq2seq(str(tmp_path))
