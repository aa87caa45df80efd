"""A model in training with further terms of its loss."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from slt_cache.batches.features import FeatureBatch
from slt_cache.batches.targets import make_targets
from slt_cache.config import CROSS_ENTROPY, OptimizerConfig
from slt_cache.errors import InputError
from slt_cache.models.translators import SignTranslator, token_loss
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.base import Outputs, Setup
from slt_cache.training.objectives.model import WithObjectives, bare, heads, with_objectives
from slt_cache.training.step import StepResult, TrainStep
from slt_cache.training.sync import MicroBatches
from slt_cache.training.task import TrainerOptions
from slt_cache.training.tasks.llm import FromCacheTask
from tests.helpers.small_causal_llms import make_causal_llm
from tests.training.objectives.conftest import TEXTS, WIDTH

TERMS = (CROSS_ENTROPY, "cico", "contrastive", "denoising")


def batch_of(tokenizer: Tokenizer, clips: tuple[int, ...] = (0, 1, 2)) -> FeatureBatch:
    lengths = torch.tensor([4 + clip for clip in clips])
    each = [torch.randn(4 + clip, 8, generator=torch.Generator().manual_seed(clip)) for clip in clips]
    targets = make_targets([tokenizer.encode(TEXTS[clip]) for clip in clips], tokenizer)
    features = torch.nn.utils.rnn.pad_sequence(each, batch_first=True)
    return FeatureBatch(tuple(f"clip {clip}" for clip in clips), features, lengths, targets)


def stepped(model: Any, batches: list[FeatureBatch], folder: Path) -> tuple[StepResult, TrainStep]:
    loader: Any = [None]
    rates = {"lr": 0.0, "adapter_lr": 0.0, "weight_decay": 0.0}
    task = FromCacheTask("stage 2", model, loader, **rates, evaluate=dict, save_best=lambda epoch, dev: None)
    settings = OptimizerConfig(epochs=1, batch_size=3, lr=1.0)
    step = TrainStep(task, TrainerOptions(settings, 0, 1, "fp32", torch.device("cpu"), folder))
    tokens, clips = (sum(getattr(one.targets, name) for one in batches) for name in ("tokens", "clips"))
    return step(MicroBatches(batches, tokens, save=False, clips=clips), {}), step


def test_the_cross_entropy_alone_leaves_the_model_as_it_is(small_mbart: Any, tokenizer: Tokenizer) -> None:
    model = SignTranslator(8, small_mbart, tokenizer.start)
    assert with_objectives(model, (CROSS_ENTROPY,), {}, Setup(WIDTH, tokenizer)) is bare(model) is model
    assert heads(model) == []
    more = with_objectives(model, TERMS, {}, Setup(WIDTH, tokenizer))
    assert isinstance(more, WithObjectives) and bare(more) is model
    assert sum(weight.numel() for weight in heads(more)) == 2 * (2 * WIDTH**2 + 1)


def test_each_term_has_its_weight_and_the_logits_are_the_models(small_mbart: Any, tokenizer: Tokenizer) -> None:
    model, batch = SignTranslator(8, small_mbart, tokenizer.start).eval(), batch_of(tokenizer)
    weights = {"denoising": 0.5, CROSS_ENTROPY: 2.0}
    outputs = with_objectives(model, TERMS, weights, Setup(WIDTH, tokenizer))(batch)
    assert isinstance(outputs, Outputs)
    assert torch.equal(outputs.logits, model(batch.features, batch.lengths, batch.targets.decoder_input_ids))
    assert outputs.weight == 2
    assert {(term.name, term.weight, term.per) for term in outputs.terms} == {
        ("cico", 1.0, "clips"),
        ("contrastive", 1.0, "clips"),
        ("denoising", 0.5, "tokens"),
    }


def test_a_step_takes_the_weighted_sum_of_the_means_over_all_micro_batches(
    small_mbart: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    translator = SignTranslator(8, small_mbart, tokenizer.start).eval()
    model = with_objectives(translator, TERMS, {"contrastive": 3.0}, Setup(WIDTH, tokenizer)).eval()
    batches = [batch_of(tokenizer), batch_of(tokenizer, (1, 4))]
    tokens = sum(batch.targets.tokens for batch in batches)
    loss, means = torch.tensor(0.0), dict.fromkeys(TERMS[1:], 0.0)
    for batch in batches:
        outputs = model(batch)
        loss = loss + token_loss(outputs.logits, batch.targets.labels, 0.2) / tokens
        for term in outputs.terms:
            part = term.value / (tokens if term.per == "tokens" else 5)
            means[term.name] += part.item()
            loss = loss + part * term.weight
    wanted = torch.autograd.grad(loss, [*model.parameters()], allow_unused=True)
    result, step = stepped(model, batches, tmp_path)
    assert result.terms == pytest.approx(means, rel=1e-5)
    for weight, expected in zip(step.model.parameters(), wanted, strict=True):
        assert torch.allclose(weight.grad, torch.zeros_like(weight) if expected is None else expected, atol=1e-6)


def test_bfloat16_changes_no_value_by_much(small_mbart: Any, tokenizer: Tokenizer) -> None:
    translator = SignTranslator(8, small_mbart, tokenizer.start).eval()
    model = with_objectives(translator, TERMS, {}, Setup(WIDTH, tokenizer)).eval()
    exact = {term.name: term.value.item() for term in model(batch_of(tokenizer)).terms}
    with torch.autocast("cpu", torch.bfloat16):
        rough = {term.name: term.value.item() for term in model(batch_of(tokenizer)).terms}
    assert rough == pytest.approx(exact, rel=0.03) and rough != exact


def test_a_decoder_only_llm_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    make_causal_llm("llama", tmp_path)
    model = SignTranslator(8, AutoModelForCausalLM.from_pretrained(tmp_path), (1,))
    with pytest.raises(InputError, match="a decoder-only LLM has no encoder for sentences"):
        with_objectives(model, TERMS, {}, Setup(WIDTH, tokenizer))
