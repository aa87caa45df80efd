"""Norms of the last layers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from transformers import AutoConfig, AutoModelForCausalLM

from slt_cache.models.translators import VisualTranslator
from slt_cache.training.diagnostics import last_layer, last_layers, norms
from slt_cache.training.logs import read_metrics
from slt_cache.training.loop import train
from tests.helpers.toy_training import ToyTask, options_of


def test_norms_of_the_last_layers_are_logged_before_clipping(tmp_path: Path) -> None:
    class Recorded(ToyTask):
        weights: list[float]

        def optimizer(self) -> Optimizer:
            optimizer = super().optimizer()
            self.weights = []
            optimizer.register_step_pre_hook(
                lambda *_: self.weights.append(
                    float(sum(p.detach().pow(2).sum() for p in self.model[3].parameters()) ** 0.5)
                )
            )
            return optimizer

    norms = []
    for clip_norm in (None, 1e-6):
        torch.manual_seed(0)
        task = Recorded([1.0])
        train(task, options_of(tmp_path / str(clip_norm), epochs=1, clip_norm=clip_norm, lr=1e-9))
        [line] = [
            line
            for line in read_metrics(tmp_path / str(clip_norm) / "last" / "metrics.jsonl")
            if line["kind"] == "step"
        ]
        assert line["param_norm/last"] == pytest.approx(task.weights[9], rel=1e-5)
        norms.append(line["grad_norm/last"])
    assert norms[1] > 1e-3
    quiet = replace(options_of(tmp_path / "quiet", epochs=1), diagnostics=False)
    train(ToyTask([1.0]), quiet)
    assert not [key for line in read_metrics(quiet.folder / "last" / "metrics.jsonl") for key in line if "norm" in key]


def test_last_layers_are_found_in_both_stages(visual: VisualTranslator) -> None:
    layers = last_layers(visual, "translator")
    assert list(layers) == ["encoder", "adapter", "translator"]
    assert layers["encoder"] is visual.encoder.temporal
    assert layers["translator"] is visual.translator.seq2seq.get_decoder().layers[-1]
    assert list(last_layers(visual.translator, "llm")) == ["adapter", "llm"]


def test_norms_of_scaled_gradients_are_those_of_the_gradients() -> None:
    layer = nn.Linear(3, 2)
    layer(torch.ones(1, 3)).sum().backward()
    plain = norms({"layer": layer})
    assert plain["grad_norm/layer"] == pytest.approx(8**0.5)
    for weight in layer.parameters():
        assert weight.grad is not None
        weight.grad *= 1024
    assert norms({"layer": layer}, 1024.0) == pytest.approx(plain)
    frozen = nn.Linear(3, 2).requires_grad_(False)
    assert norms({"frozen": frozen}) == {}


def test_the_last_layer_is_found_where_the_output_layer_is_called_decoder() -> None:
    """As in ModernBERT, of which transformers returns that as its decoder."""
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model("modernbert-decoder", vocab_size=20, pad_token_id=0, **shape)
    model = AutoModelForCausalLM.from_config(config)
    names = {name for name, module in model.named_modules() if module is last_layer(model)}
    assert names == {"model.layers.1"}
