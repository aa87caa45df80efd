"""Terms of the loss by name."""

from collections.abc import Callable

import pytest
import torch

from slt_cache.config import CROSS_ENTROPY, load_config
from slt_cache.errors import InputError
from slt_cache.runs.open_names import require_known_names
from slt_cache.text.tokenizer import Tokenizer
from slt_cache.training.objectives.base import Objective, Seen, Setup
from slt_cache.training.objectives.registry import OBJECTIVES, make_objectives, require_gradient, weight_of
from tests.training.objectives.conftest import WIDTH

OTHERS = [name for name in OBJECTIVES if name != CROSS_ENTROPY]


def value(see: Callable[..., Seen], tokenizer: Tokenizer, name: str, *batch: object, **options: object) -> torch.Tensor:
    torch.manual_seed(1)
    term = make_objectives([name], Setup(WIDTH, tokenizer))[name]
    return term(see(*batch, **options)).detach()


@pytest.mark.parametrize("name", OTHERS)
def test_order_and_padding_of_a_batch_change_no_value(
    name: str, see: Callable[..., Seen], tokenizer: Tokenizer
) -> None:
    whole = value(see, tokenizer, name, [0, 1, 2, 4])
    assert whole > 0.1
    assert value(see, tokenizer, name, [2, 4, 0, 1]) == pytest.approx(float(whole), rel=1e-5)
    assert value(see, tokenizer, name, [0, 1, 2, 4], more=7) == pytest.approx(float(whole), rel=1e-5)


@pytest.mark.parametrize("name", OTHERS)
def test_a_clip_that_does_not_count_has_no_value_and_no_gradient(
    name: str, see: Callable[..., Seen], tokenizer: Tokenizer
) -> None:
    seen = see([1], counts=False)
    term = make_objectives([name], Setup(WIDTH, tokenizer))[name]
    found = term(seen)
    assert found == 0
    if found.requires_grad:
        found.backward()
        assert all(not weight.grad.any() for weight in term.parameters() if weight.grad is not None)


def test_terms_are_named_in_a_list_or_a_text_and_the_cross_entropy_is_always_one() -> None:
    for written in ("signcl,contrastive", "[contrastive, signcl]", "[signcl, cross-entropy, contrastive, signcl]"):
        objective = load_config("avatar", [f"visual_training.objective={written}"]).visual_training.objective
        assert objective == (CROSS_ENTROPY, "contrastive", "signcl")
    assert load_config("avatar", ["visual_training.objective=cross-entropy"]) == load_config("avatar")


def test_an_unknown_term_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(InputError, match=r"visual_training.objective clip: unknown.*contrastive, cico, signcl"):
        require_known_names(load_config("avatar", ["visual_training.objective=clip"]))
    with pytest.raises(InputError, match="objective_weights names signcl, no term of the objective"):
        load_config("avatar", ["visual_training.objective_weights.signcl=2"])


def test_the_usual_loss_is_recorded_as_before_there_were_others() -> None:
    usual = load_config("avatar").visual_training.recorded()
    assert "objective" not in usual and "objective_weights" not in usual
    more = load_config(
        "avatar", ["visual_training.objective=signcl", "visual_training.objective_weights.signcl=2"]
    ).visual_training
    assert more.recorded() == {
        **usual,
        "objective": [CROSS_ENTROPY, "signcl"],
        "objective_weights": {"signcl": 2.0},
    }
    assert weight_of("signcl", more.objective_weights) == 2
    assert weight_of("signcl", {}) == 0.01 and weight_of("contrastive", {}) == 1


def test_a_term_of_the_backbone_alone_is_refused_where_it_does_not_learn() -> None:
    require_gradient(["contrastive", "denoising"], "llm_training.objective", 8, frozen=True)
    require_gradient(["contrastive", "signcl"], "visual_training.objective", 2, frozen=False)
    with pytest.raises(InputError, match=r"llm_training.objective signcl: shapes the backbone"):
        require_gradient(["contrastive", "signcl"], "llm_training.objective", 8, frozen=True)


def test_a_term_that_compares_clips_is_refused_for_batches_of_one() -> None:
    require_gradient(["signcl", "denoising"], "visual_training.objective", 1, frozen=False)
    for name in ("contrastive", "cico"):
        with pytest.raises(InputError, match=rf"visual_training.objective {name}: compares the clips of a batch"):
            require_gradient(["denoising", name], "visual_training.objective", 1, frozen=False)


def test_terms_have_weights_of_their_own_only_where_they_compare_video_and_text(tokenizer: Tokenizer) -> None:
    terms = make_objectives(OTHERS, Setup(WIDTH, tokenizer))
    assert all(isinstance(term, Objective) for term in terms.values())
    assert {name for name, term in terms.items() if list(term.parameters())} == {"contrastive", "cico"}
