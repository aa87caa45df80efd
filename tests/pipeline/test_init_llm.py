"""`llm.init_from`: stage 2 begins with another run's translator, whole, or without the parts that are named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from slt_cache.checkpoints.record import Record, read_record, save_record, write_record
from slt_cache.config import Config, LoraConfig
from slt_cache.errors import InputError
from slt_cache.pipeline.init_llm import begun_in, find, initial_translator, unknown_characters
from slt_cache.reading import read_object
from slt_cache.runs.llm_folders import require_whole_llm
from slt_cache.runs.run import Run
from slt_cache.runs.variants import MODELS
from slt_cache.text.prompt import shown_prompts
from slt_cache.text.tokenizer import Tokenizer, load_tokenizer
from slt_cache.training.state import STATE_FILE
from tests.helpers.commands import Ran, slt_cache
from tests.helpers.imported_run import imported_cache, of_imported
from tests.helpers.killed import killed_after
from tests.helpers.small_causal_llms import make_causal_llm
from tests.models.test_saved import DIM, save

STILL = ("llm_training.lr=1e-12", "llm_training.adapter_lr=1e-12", "llm_training.epochs=2")
"""Settings with which nothing is learned, so that what was begun with can be seen."""
LORA = LoraConfig(r=4, alpha=8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Translators of two runs, `plain` and `adapted`, and two caches."""
    folder = tmp_path_factory.mktemp("made")
    save("mbart", folder / "plain")
    save("mbart", folder / "adapted", LORA)
    adapter = folder / "adapted" / "llm" / "best" / "lora" / "adapter_model.safetensors"
    fill_with_random(adapter)
    imported_cache(folder / "feats.h5", DIM)
    imported_cache(folder / "wide.h5", DIM + 1)
    return folder


def fill_with_random(path: Path) -> None:
    """LoRA weights as a training leaves them: fresh ones change nothing."""
    from safetensors.torch import save_file

    torch.manual_seed(1)
    save_file({name: torch.randn_like(one) for name, one in load_file(path).items()}, path, metadata={"format": "pt"})
    hash_again(path.parents[1])


def hash_again(best: Path) -> None:
    record = read_record(best)
    assert record is not None
    save_record(best, record)


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder-only LLM `qwen`, a cache, and a run `first` whose stage 2 was trained with a prompt."""
    folder = tmp_path_factory.mktemp("prompted")
    make_causal_llm("qwen2", folder / "qwen")
    cache = imported_cache(folder / "feats.h5", DIM)
    learns = (f"llm.name={folder / 'qwen'}", "llm.prompt=say {video} so:", "llm_training.epochs=1")
    ran = slt_cache(*of_imported(folder / "first", cache, *learns))
    assert ran.code == 0, ran.err
    return folder


@pytest.fixture
def other(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "other"))


def train(run: Path, other: Path, *settings: str, kind: str = "plain", cache: str = "feats.h5") -> Ran:
    return slt_cache(
        *of_imported(run, other / cache, f"llm.init_from={other / kind / 'llm' / 'best'}", *STILL, *settings)
    )


def files(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.name}/{name}": tensor
        for path in folder.rglob("*.safetensors")
        for name, tensor in load_file(path).items()
    }


def assert_close(one: Path, two: Path, but: tuple[str, ...] = ()) -> None:
    first, second = files(one), files(two)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        same = torch.allclose(tensor, second[name], atol=1e-6)
        assert same != name.startswith(but) if but else same, name


@pytest.mark.parametrize(("kind", "settings"), [("plain", ()), ("adapted", ("llm.lora.r=4", "llm.lora.alpha=8"))])
def test_stage_2_begins_with_all_of_the_other_translator(
    other: Path, tmp_path: Path, kind: str, settings: tuple[str, ...]
) -> None:
    ran = train(tmp_path / "run", other, *settings, kind=kind)
    assert ran.code == 0, ran.err
    lora = "LoRA weights (r 4), " if kind == "adapted" else ""
    assert f"stage 2 begins with {other / kind / 'llm' / 'best'}" in ran.err
    assert f": LLM, {lora}adapter, tokenizer" in ran.err
    best = tmp_path / "run" / "llm" / "best"
    assert_close(best, other / kind / "llm" / "best")
    record = read_record(best)
    assert record is not None
    assert record.settings["llm"]["name"] == "facebook/mbart-large-cc25"
    assert record.settings["llm"]["init_from"].startswith("sha256:")
    assert "trim" not in record.settings["llm"]
    assert slt_cache("verify", tmp_path / "run").code == 0


def test_a_part_that_is_left_out_starts_fresh(other: Path, tmp_path: Path) -> None:
    ran = train(tmp_path / "run", other, "llm.init_without=[adapter]", "llm.lora.r=4")
    assert ran.code == 0, ran.err
    assert "LLM, tokenizer; fresh: adapter, LoRA" in ran.err
    best = tmp_path / "run" / "llm" / "best"
    shutil.rmtree(best / "lora")
    assert_close(best, other / "plain" / "llm" / "best", but=("adapter.safetensors/mlp.0", "adapter.safetensors/mlp.2"))


@pytest.mark.parametrize(
    ("kind", "settings", "dim", "part"),
    [
        ("plain", {}, DIM + 1, "adapter"),
        ("adapted", {}, DIM, "lora"),
        ("adapted", {"lora": {"r": 8, "alpha": 8}}, DIM, "lora"),
        ("adapted", {"lora": {"r": 4, "alpha": 9}}, DIM, "lora"),
        ("adapted", {"lora": {"r": 4, "alpha": 8, "targets": ["k_proj"]}}, DIM, "lora"),
        ("plain", {"language": "en_XX"}, DIM, "language"),
    ],
)
def test_what_does_not_fit_is_named_and_can_be_left_out(
    made: Path, kind: str, settings: dict[str, Any], dim: int, part: str
) -> None:
    folder = made / kind / "llm" / "best"
    asked = {"init_from": str(folder), "language": "de_DE", **settings}
    with pytest.raises(InputError, match=rf"does not fit \({part}: (?!{part} ).*init_without=\[\"{part}\"\]"):
        initial_translator(Config.model_validate({"llm": asked}), folder, dim)
    omitted = Config.model_validate({"llm": {**asked, "init_without": [part]}})
    assert initial_translator(omitted, folder, dim).without == (part,)


def test_several_misfits_are_named_at_once_and_exit_with_2(other: Path, tmp_path: Path) -> None:
    ran = train(tmp_path / "run", other, kind="adapted", cache="wide.h5")
    assert ran.code == 2
    [line] = [line for line in ran.err.splitlines() if line.startswith("error:")]
    assert "features of size 16 there, 17 here" in line and "llm.lora is null here" in line
    assert not (tmp_path / "run" / "llm").exists()
    parts = line.partition("llm.init_without=")[2].rstrip("'")
    taken = train(tmp_path / "run", other, f"llm.init_without={parts}", kind="adapted", cache="wide.h5")
    assert taken.code == 0, taken.err
    assert "LLM, tokenizer; fresh: adapter" in taken.err


def test_lora_of_another_scale_is_another_start(other: Path, tmp_path: Path) -> None:
    assert train(tmp_path / "run", other, "llm.lora.r=4", "llm.lora.alpha=8", kind="adapted").code == 0
    refused = train(
        tmp_path / "run", other, "llm.lora.r=4", "llm.lora.alpha=8", "llm.init_without=[lora]", kind="adapted"
    )
    assert refused.code == 2 and "llm.init_without" in refused.err


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def unfinish(path: Path) -> None:
    record = read_record(path.parent)
    assert record is not None
    write_record(path.parent, record.__class__(**{**record.__dict__, "finished": False}))


@pytest.mark.parametrize(
    ("named", "damage", "said"),
    [
        ("plain/llm/best", lambda best: shutil.rmtree(best), "llm.init_from"),
        ("plain/llm/best", lambda best: cut(best / "adapter.safetensors"), "adapter.safetensors: damaged"),
        ("plain/llm/best", lambda best: cut(best / "model.safetensors"), "model.safetensors: damaged"),
        ("plain/llm/best", lambda best: unfinish(best / "record.json"), "unfinished"),
        ("plain/llm/best", lambda best: (best / "sign_translator.json").unlink(), "no finished translator"),
        ("plain", lambda best: None, "Did you mean "),
        ("feats.h5", lambda best: None, "llm.init_from"),
    ],
)
def test_a_missing_or_damaged_folder_is_one_line(
    other: Path, tmp_path: Path, named: str, damage: Callable[[Path], object], said: str
) -> None:
    damage(other / "plain" / "llm" / "best")
    words = of_imported(tmp_path / "run", other / "feats.h5", f"llm.init_from={other / named}", *STILL)
    ran = slt_cache(*words)
    assert ran.code == 2, ran.err
    [line] = [line for line in ran.err.splitlines() if line.startswith("error:")]
    assert said in line and str(other) in line and "Traceback" not in ran.err
    assert not (tmp_path / "run" / "llm").exists()


def test_a_published_copy_without_a_record_will_do(other: Path, tmp_path: Path) -> None:
    (other / "plain" / "llm" / "best" / "record.json").unlink()
    ran = train(tmp_path / "run", other)
    assert ran.code == 0, ran.err


def test_naming_it_as_the_llm_is_refused_with_the_setting_that_takes_it_whole(other: Path, tmp_path: Path) -> None:
    best = other / "plain" / "llm" / "best"
    ran = slt_cache(*of_imported(tmp_path / "run", other / "feats.h5", f"llm.name={best}", *STILL))
    assert ran.code == 2 and f"llm.init_from={best}" in ran.err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("llm.pretrained=false",), "init_from takes trained weights"),
        (("llm.init_without=[embedding]",), "llm.init_without"),
    ],
)
def test_settings_that_contradict_it_are_refused(
    made: Path, tmp_path: Path, settings: tuple[str, ...], said: str
) -> None:
    ran = train(tmp_path / "run", made, *settings)
    assert ran.code == 2 and said in ran.err
    alone = slt_cache(*of_imported(tmp_path / "run", made / "feats.h5", "llm.init_without=[lora]"))
    assert alone.code == 2 and "init_from, which is not set" in alone.err


def test_a_training_resumes_and_is_known_without_the_other_run(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    learns = ("llm_training.lr=1e-3", "compute.save_minutes=0")
    assert train(whole, other, *learns).code == 0

    with killed_after(3):
        train(run, other, *learns)
    moved = other.rename(tmp_path / "moved")
    shutil.copytree(moved, other)
    shutil.rmtree(other / "plain")
    resumed = train(run, other, *learns)
    assert resumed.code == 0, resumed.err
    assert "resumes in epoch 2" in resumed.err and "begins with" not in resumed.err
    assert {name: one.tolist() for name, one in files(run / "llm" / "best").items()} == {
        name: one.tolist() for name, one in files(whole / "llm" / "best").items()
    }
    assert "trained already" in train(run, other, *learns).err
    assert "trained already" in train(run, moved, *learns).err  # the same folder elsewhere
    assert slt_cache("verify", run).code == 0


def test_another_folder_is_another_training_and_a_restart_takes_it(other: Path, tmp_path: Path) -> None:
    assert train(tmp_path / "run", other).code == 0
    best = other / "plain" / "llm" / "best"
    shutil.rmtree(best)
    save("mbart", other / "plain")
    tensors = load_file(best / "adapter.safetensors")
    from safetensors.torch import save_file

    save_file({name: one + 1 for name, one in tensors.items()}, best / "adapter.safetensors")
    hash_again(best)
    refused = train(tmp_path / "run", other)
    assert refused.code == 2 and "init_from: other content" in refused.err
    words = of_imported(tmp_path / "run", other / "feats.h5", f"llm.init_from={best}", *STILL)
    again = slt_cache(*words, "--restart")
    assert again.code == 0, again.err
    assert_close(tmp_path / "run" / "llm" / "best", best)
    assert slt_cache("verify", tmp_path / "run").code == 0


def test_a_dry_run_says_what_would_be_taken_and_writes_nothing(
    other: Path, tmp_path: Path, one_second_each: None
) -> None:
    words = of_imported(tmp_path / "run", other / "feats.h5", f"llm.init_from={other / 'plain' / 'llm' / 'best'}")
    ran = slt_cache(*words, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    [line] = json.loads(ran.out)["begins"]
    assert line.endswith(": LLM, adapter, tokenizer")
    assert not (tmp_path / "run").exists()
    wide = of_imported(tmp_path / "run", other / "wide.h5", f"llm.init_from={other / 'plain' / 'llm' / 'best'}")
    refused = slt_cache(*wide, "--dry-run")
    assert refused.code == 2 and "does not fit" in refused.err


def test_characters_that_its_tokenizer_does_not_know_are_counted(
    other: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    [line] = unknown_characters(tokenizer, ["heute regnet es", "heute Ж regnet щ", "Ж"])
    assert line.startswith("2 of 3 train sentences") and line.endswith(": Ж щ")
    assert unknown_characters(tokenizer, ["heute regnet es"]) == []
    imported_cache(other / "more.h5", DIM, ("Ж Ж", "ein satz", "heute regen", "morgen schnee"))
    ran = train(tmp_path / "run", other, cache="more.h5")
    assert ran.code == 0, ran.err
    assert "1 of 4 train sentences have characters that the tokenizer of llm.init_from does not know: Ж" in ran.err


def test_a_decoder_only_translator_is_taken_with_its_prompt_and_dora(tmp_path: Path) -> None:
    make_causal_llm("qwen2", tmp_path / "qwen")
    cache, first = imported_cache(tmp_path / "feats.h5", DIM), tmp_path / "first"
    lora = ("llm.lora.r=4", "llm.lora.dora=true", "llm_training.epochs=1")
    learns = (f"llm.name={tmp_path / 'qwen'}", "llm.prompt=say {video} so:", "llm_training.lr=1e-2")
    made = slt_cache(*of_imported(first, cache, *lora, *learns))
    assert made.code == 0, made.err
    best = first / "llm" / "best"
    ran = slt_cache(*of_imported(tmp_path / "run", cache, f"llm.init_from={best}", *lora, *STILL[:2]))
    assert ran.code == 0, ran.err
    assert ": LLM, LoRA weights (r 4), adapter, tokenizer, prompt\n" in ran.err
    assert_close(tmp_path / "run" / "llm" / "best", best)
    prefixes = [(folder / "llm" / "best" / "framing.json").read_text() for folder in (first, tmp_path / "run")]
    assert prefixes[0] == prefixes[1] and '"before"' in prefixes[0]
    other = slt_cache(*of_imported(tmp_path / "other", cache, f"llm.init_from={best}", "llm.lora.r=4"))
    assert other.code == 2 and "lora: dora: made with True, asked for False" in other.err
    see = ("llm.prompt=see {video} as:", *lora, *STILL[:2])
    refused = slt_cache(*of_imported(tmp_path / "see", cache, f"llm.init_from={best}", *see))
    assert refused.code == 2 and "(prompt: 'say {video} so:' there, 'see {video} as:' here)" in refused.err
    assert """llm.init_without=["prompt"]'""" in refused.err
    taken = slt_cache(*of_imported(tmp_path / "see", cache, f"llm.init_from={best}", "llm.init_without=[prompt]", *see))
    assert taken.code == 0 and "adapter, tokenizer; fresh: prompt\n" in taken.err, taken.err
    own = load_tokenizer(str(tmp_path / "see" / "llm" / "best"), "de_DE")
    assert shown_prompts(own) == ("see {video} as:",)
    asked = {"init_from": str(best), "init_without": ["prompt"], "language": "de_DE", "lora": {"r": 4, "dora": True}}
    bare = initial_translator(Config.model_validate({"llm": asked}), best, DIM)
    assert shown_prompts(bare.tokenizer) == () and bare.summary.endswith("tokenizer; fresh: prompt")


def test_weights_that_were_frozen_in_another_precision_are_said_to_be(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "plain" / "llm" / "best", tmp_path / "best"))
    settings = Config.model_validate({"llm": {"init_from": str(folder), "language": "de_DE"}})
    assert ": LLM, adapter" in initial_translator(settings, folder, DIM).summary
    config = read_object(folder / "config.json")
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    (folder / "record.json").unlink()
    said = "LLM in float32 (its weights are bfloat16), adapter, tokenizer"
    assert initial_translator(settings, folder, DIM).summary.endswith(said)


@pytest.mark.parametrize("named", ["", "joint", "joint/best", "llm-unfreeze-all/best", "llm-unfreeze-temporal"])
def test_a_folder_around_a_translator_is_refused_with_the_one_that_is_meant(
    named: str, made: Path, tmp_path: Path
) -> None:
    training = named.partition("/")[0] or "joint"
    llm = tmp_path / training / "best" / "llm"
    shutil.copytree(made / "plain" / "llm" / "best", llm)
    with pytest.raises(InputError, match=rf"Did you mean {llm}\?"):
        find(str(tmp_path / named))
    with pytest.raises(InputError, match=rf"set llm\.init_from={llm} instead"):
        require_whole_llm(str(tmp_path / named))
    assert find(str(llm)) == llm


@pytest.mark.parametrize("other_run", [True, False])
def test_only_the_same_training_has_begun_with_a_prompt(prompted: Path, tmp_path: Path, other_run: bool) -> None:
    """Neither one of another model in the run, nor one of the same model that began with no translator."""
    see = ("llm.prompt=see {video} as:", *STILL[:2], "llm_training.epochs=1")
    begun = (f"llm.name={prompted / 'qwen'}", f"llm.pretrained={'false' if other_run else 'true'}", "llm.trim=false")
    ran = slt_cache(*of_imported(tmp_path / "run", prompted / "feats.h5", *see, *begun))
    assert ran.code == 0, ran.err
    initial = (f"llm.init_from={prompted / 'first' / 'llm' / 'best'}", "llm.pretrained=true")
    refused = slt_cache(*of_imported(tmp_path / "run", prompted / "feats.h5", *see, *initial))
    assert refused.code == 2 and "'say {video} so:' there, 'see {video} as:' here" in refused.err, refused.err


def test_a_training_keeps_the_prompt_that_it_began_with(prompted: Path, tmp_path: Path) -> None:
    """Earlier, a prompt that ends with the video kept the other translator's start."""
    best, unfinished = prompted / "first" / "llm" / "best", tmp_path / "run" / "llm" / "last" / "best"
    asked = (f"llm.init_from={best}", "llm.init_without=[prompt]", "llm.prompt=see {video}", "compute.save_minutes=0")
    words = of_imported(tmp_path / "run", prompted / "feats.h5", *asked, "llm_training.epochs=2")
    with killed_after(3):
        slt_cache(*words)
    now, other_start = read_object(unfinished / "framing.json"), read_object(best / "framing.json")["start"]
    assert now["start"] != other_start
    (unfinished / "framing.json").write_text(json.dumps({**now, "start": other_start}))
    hash_again(unfinished)
    resumed = slt_cache(*words)
    assert resumed.code == 0 and "resumes in epoch 2" in resumed.err, resumed.err
    framing = tmp_path / "run" / "llm" / "best" / "framing.json"
    assert read_object(framing) == {**now, "start": other_start}
    again = slt_cache(*words, "--restart")
    assert again.code == 0 and read_object(framing) == now, again.err


def test_the_weights_so_far_are_those_of_the_model_that_resumes(tmp_path: Path) -> None:
    """A joint training holds its LLM in a folder within."""
    asked = {"init_from": "other", "prompt": "see {video}"}
    run = Run(tmp_path, Config.model_validate({"llm": asked}))
    write_record(run.initial, Record("the initial translator", {"init_from": "sha256:1"}, finished=True))
    last = tmp_path / "joint" / "last"
    write_record(last, Record("joint", {"llm": {**asked, "init_from": "sha256:1"}}))
    assert begun_in(run, MODELS["joint"], run.initial) is None  # no state
    (last / STATE_FILE).touch()
    assert begun_in(run, MODELS["joint"], run.initial) == last / "best" / "llm"
    assert begun_in(run, MODELS["llm"], run.initial) is None
    write_record(run.initial, Record("the initial translator", {"init_from": "sha256:2"}, finished=True))
    assert begun_in(run, MODELS["joint"], run.initial) is None
