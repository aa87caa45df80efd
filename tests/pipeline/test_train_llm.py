"""Stage 2 as a command: what it refuses before anything is trained."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slt_cache.config import Config, load_config, save_config
from slt_cache.errors import InputError
from slt_cache.pipeline.feature_spec import asked_spec
from slt_cache.pipeline.train_llm import train_llm
from slt_cache.runs.begin_from import begin_from
from slt_cache.runs.run import Run
from tests.helpers.caches import add_split, facts_of, rows_of, spec_of
from tests.helpers.commands import slt_cache
from tests.helpers.imported_run import imported_cache, of_imported
from tests.helpers.small_causal_llms import make_causal_llm
from tests.models.test_saved import DIM, save


def run_with(folder: Path, *settings: str) -> Run:
    return Run(folder / "run", load_config("avatar", settings))


def cached(run: Run, folder: Path) -> Path:
    """A cache of the features that the run asks for."""
    asked = asked_spec(run)
    assert isinstance(asked, dict)
    spec = replace(spec_of(), **asked)
    rows = [replace(row, features=row.features.astype(spec.dtype)) for row in rows_of()]
    for split in ("train", "dev"):
        add_split(folder / "feats.h5", rows, facts_of(split, spec))
    return folder / "feats.h5"


def test_a_small_llm_without_the_tokenizer_of_stage_1_names_its_command(tmp_path: Path) -> None:
    run = run_with(tmp_path)
    with pytest.raises(InputError, match=r"no tokenizer yet\. Train stage 1 first: .*slt-cache train-visual"):
        train_llm(run, cached(run, tmp_path))
    assert not run.llm.exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("corpus.name=tsv", "preset: not set"),
        ("compute.device=abacus", "abacus"),
        ("features.level=frame", "level: file sign, this run frame"),
    ],
)
def test_what_would_fail_after_an_epoch_fails_before_the_first(tmp_path: Path, setting: str, said: str) -> None:
    cache = cached(run_with(tmp_path), tmp_path)
    with pytest.raises(InputError, match=said):
        train_llm(run_with(tmp_path, setting), cache)
    assert not (tmp_path / "run").exists()


def run_of(llm: Path) -> Path:
    """A run that holds a trained translator; returns the folder."""
    save("mbart", llm)
    (llm / "config.yaml").touch()
    return llm


def bert(folder: Path) -> Path:
    from transformers import BertConfig, BertForMaskedLM

    shape: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    BertForMaskedLM(BertConfig(vocab_size=6, **shape)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    return folder


def of_unknown_type(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama99"}')
    return folder


def nothing_in(folder: Path) -> Path:
    folder.mkdir()
    return folder


def gpt2(folder: Path) -> Path:
    make_causal_llm("gpt2", folder)
    return folder


@pytest.mark.parametrize(
    ("make", "setting", "said"),
    [
        (bert, "", "model_type bert, which is neither an encoder-decoder nor a decoder-only LLM"),
        (nothing_in, "", "no model can be loaded from this folder"),
        (of_unknown_type, "", "llama99"),
        (lambda folder: folder, "", "neither a model folder nor available from the hub"),
        (run_of, "", "set llm.init_from={llm}/llm/best instead"),
        (lambda folder: run_of(folder) / "llm", "", "set llm.init_from={llm}/best instead"),
        (gpt2, "llm.chat_template=true", "the LLM's tokenizer has no chat template"),
        (gpt2, "llm.lora.targets=[q_proj]", "no linear layer called q_proj. Existing layers: c_attn, c_fc, c_proj"),
    ],
)
def test_an_llm_that_cannot_be_trained_is_refused_in_one_line_before_it_is_trimmed(
    make: Callable[[Path], Path], setting: str, said: str, tmp_path: Path
) -> None:
    llm, cache = make(tmp_path / "llm"), imported_cache(tmp_path / "feats.h5", DIM)
    ran = slt_cache(*of_imported(tmp_path / "run", cache, f"llm.name={llm}", *filter(None, [setting])))
    assert ran.code == 2 and len(ran.err.splitlines()) == 1, ran.err
    assert ran.err.startswith("error: ") and said.format(llm=llm) in ran.err
    assert not (tmp_path / "run").exists()


def test_a_refused_training_leaves_no_folder_that_it_began_from_another_run(tmp_path: Path) -> None:
    other, new, llm = tmp_path / "other", tmp_path / "new", bert(tmp_path / "llm")
    other.mkdir()
    settings = {"features": {"level": "imported"}, "corpus": {"name": "tsv"}, "llm": {"language": "de_DE"}}
    save_config(Config.model_validate(settings), other / "config.yaml")
    imported_cache(other / "feats.h5", DIM)
    begun = ("train-llm", "--from", other, "--run", new)
    for refused in (("--set", f"llm.name={llm}"), ("--set", "llm.nme=x")):
        assert slt_cache(*begun, *refused).code == 2
        assert not new.exists()
    begin_from(other, new, "feats.h5")
    assert slt_cache(*begun, "--set", f"llm.name={llm}").code == 2
    assert (new / "feats.h5").is_file()  # this call has not begun it
