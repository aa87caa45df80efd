"""The LLM that a training of stage 2 begins with."""

from pathlib import Path

import pytest
import torch

from slt_cache.checkpoints.named_files import content_of
from slt_cache.config import load_config
from slt_cache.corpora.base import Clip
from slt_cache.errors import InputError
from slt_cache.pipeline.prepare_llm import Llm, llm_of
from slt_cache.runs.derived import Derived
from slt_cache.runs.run import Run
from slt_cache.runs.variants import LLM
from slt_cache.text.tokenizer import Tokenizer
from tests.helpers.commands import TINY
from tests.helpers.small_llms import make_small_llm

DIM = 6
SENTENCES = ("heute regnet es im norden", "morgen schneit es")


@pytest.fixture(scope="module")
def mbart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llm")
    make_small_llm("mbart", folder)
    return folder


def opened(folder: Path, name: object, *settings: str, refuse: str | None = None) -> Llm:
    def check(tokenizer: Tokenizer) -> None:
        if refuse is not None:
            raise InputError(refuse)

    words = [f"llm.name={name}", "llm.language=de_DE", "llm.trim=false", "corpus.name=tsv", *settings]
    run = Run(folder, load_config(str(TINY), words))
    clips = [Clip(str(n), "train", folder / "v.mp4", None, None, text) for n, text in enumerate(SENTENCES)]
    with Derived(run, "train-llm", restart=False) as derived:
        return llm_of(run, clips, derived, dim=DIM, variant=LLM, check=check)


def test_an_llm_from_a_folder_is_loaded_whole_and_recorded_by_its_content(mbart: Path, tmp_path: Path) -> None:
    llm = opened(tmp_path, mbart)
    assert llm.made_of["llm"]["name"] == content_of(str(mbart))
    one, two = llm.make().state_dict(), llm.make().state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    model = llm.translator(DIM)
    assert all(weight.requires_grad for weight in model.seq2seq.parameters())
    assert llm.begins(SENTENCES) == []


def test_without_pre_trained_weights_the_same_model_has_others(mbart: Path, tmp_path: Path) -> None:
    trained, random = opened(tmp_path, mbart).make(), opened(tmp_path, mbart, "llm.pretrained=false").make()
    assert trained.config.to_dict() == random.config.to_dict()
    assert not torch.equal(trained.get_input_embeddings().weight, random.get_input_embeddings().weight)


def test_with_lora_only_lora_learns_within_the_llm(mbart: Path, tmp_path: Path) -> None:
    llm = opened(tmp_path, mbart, "llm.lora.r=2", "llm.lora.alpha=4").make()
    assert {"lora_" in name for name, weight in llm.named_parameters() if weight.requires_grad} == {True}


def test_wrong_targets_of_lora_and_what_does_not_fit_the_tokenizer_are_refused_before_a_pre_training(
    mbart: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="too long"):
        opened(tmp_path, "small-mbart", refuse="too long")
    with pytest.raises(InputError, match=r"llm\.lora\.targets"):
        opened(tmp_path, "small-mbart", "llm.lora.r=2", "llm.lora.targets=[nothing]")
    assert not (tmp_path / "llm" / "pretrained").exists()


def test_a_light_t_is_made_for_its_tokenizer_with_the_training_s_dropout(tmp_path: Path) -> None:
    llm = opened(tmp_path, "light-t", "llm_training.dropout=0.25")
    assert llm.made_of["light_t"]["dropout"] == 0.25
    assert llm.make().get_input_embeddings().num_embeddings == len(llm.tokenizer)
