"""A model folder: translates as its run does, without the run; whatever is wrong with a folder is said in a line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

import slt_cache
from slt_cache.checkpoints.record import read_record, save_record
from slt_cache.corpora.base import Clip
from slt_cache.decoding.encode import packed
from slt_cache.decoding.search import decode
from slt_cache.errors import InputError
from slt_cache.hashes import hashes_of, read_sha256
from slt_cache.models.saved_lora import BASE_WEIGHTS
from slt_cache.pipeline.evaluate import load_translator
from slt_cache.pipeline.init_llm import find
from slt_cache.pipeline.model_folder import read_model_folder
from slt_cache.pipeline.translate import Translation, Translator
from slt_cache.reading import read_json, read_object
from slt_cache.runs.llm_folders import require_whole_llm
from slt_cache.runs.run import open_run
from tests.helpers import commands
from tests.helpers.made_run import make_run

LORA = ("llm.lora.r=2", "llm.lora.alpha=64")


def succeed(*arguments: object) -> str:
    ran = commands.slt_cache(*arguments)
    assert ran.code == 0, ran.err
    return ran.out


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", 40)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("export") / "run", "mbart", "video.keep_rate=0.5")


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    out = run.with_name("model")
    succeed("export-model", "--run", run, "--out", out)
    return out


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("mbart", ("features.level=hidden", "features.dtype=float32")),
        ("mbart", ("video.fps=10", "features.level=frame", *LORA)),
        ("gpt2", ("llm.prompt=Sign {video} German", "video.fit=crop")),
        ("llama", ("generation.num_beams=1", *LORA)),
    ],
)
def test_a_model_folder_translates_as_its_run_which_is_gone(
    family: str, settings: tuple[str, ...], video: Path, tmp_path: Path
) -> None:
    run, out = make_run(tmp_path / "run", family, *settings), tmp_path / "model"
    of_run = Translator.from_run(run)(video)
    assert of_run.text
    succeed("export-model", "--run", run, "--out", out)
    for path in (run, tmp_path / "run-llm"):
        shutil.rmtree(path)
    found = slt_cache.Translator.from_pretrained(out).translate(video)
    assert (found.texts, found.scores, found.frames) == (of_run.texts, of_run.scores, of_run.frames)
    assert not [path for path in out.rglob("*.json") if str(tmp_path).encode() in path.read_bytes()]


def test_the_command_prints_the_sentence_of_the_run_and_takes_settings_of_translating(
    run: Path, exported: Path, video: Path
) -> None:
    for more in ([], ["--nbest", "2"], ["--set", "generation.num_beams=1", "--device", "cpu"], ["--window", "0.8"]):
        first, second = (
            json.loads(succeed("translate", video, *where, *more, "--json"))["translations"]
            for where in (["--run", run], ["--model", exported])
        )
        assert len(first) == (2 if "--window" in more else 1) and first[0]["text"]
        assert [one["nbest"] for one in first] == [one["nbest"] for one in second]


def test_every_file_has_its_sha256_in_the_record_and_in_the_answer(run: Path, tmp_path: Path) -> None:
    answer = json.loads(succeed("export-model", "--run", run, "--out", tmp_path / "model", "--json"))
    files = {
        path.relative_to(tmp_path / "model").as_posix() for path in (tmp_path / "model").rglob("*") if path.is_file()
    }
    assert answer["files"].keys() == files - {"record.json"}
    assert answer["files"] == hashes_of(tmp_path / "model") == read_json(tmp_path / "model" / "record.json")["files"]
    assert answer["files"]["adapter.safetensors"] == read_sha256(run / "llm" / "best" / "adapter.safetensors")
    assert answer["base"] is None and answer["bytes"] > 1000


def test_the_card_has_a_licence_line_for_each_part_and_the_two_ways_to_use_it(exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    for line in ("| corpus | ", "| LLM | ", "| visual encoder | resnet18 of torchvision (BSD-3-Clause)"):
        assert line in card
    assert 'Translator.from_pretrained("' in card and "--model" in card


@pytest.mark.parametrize("model", ["visual", "joint"])
def test_other_models_of_the_run_are_exported_too(model: str, video: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "mbart", joint=True)
    succeed("export-model", "--run", run, "--model", model, "--out", tmp_path / "model")
    translator = Translator.from_pretrained(tmp_path / "model")
    found = translator(video)
    whole, tokenizer, spec, visual = load_translator(open_run(run), model)
    assert visual is not None and translator.llm.spec == spec
    encoded = translator.encoded(Clip("c", "test", video, None, None, ""))
    [expected] = decode(whole, packed([encoded], 1), tokenizer, translator.generation)
    assert found.text == expected.texts[0] != ""


def test_an_existing_folder_is_never_overwritten_and_a_failed_export_leaves_nothing(
    run: Path, exported: Path, tmp_path: Path
) -> None:
    before = hashes_of(exported)
    for out in (exported, run, tmp_path):
        ran = commands.slt_cache("export-model", "--run", run, "--out", out)
        assert ran.code == 2 and "already exists" in ran.err
    assert hashes_of(exported) == before
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    (broken / "llm" / "best" / "adapter.safetensors").write_bytes(b"")
    ran = commands.slt_cache("export-model", "--run", broken, "--out", tmp_path / "out")
    assert ran.code == 2 and "adapter.safetensors: damaged" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken"]


def test_the_llm_under_lora_is_left_out_on_request_and_only_the_same_one_is_accepted(
    video: Path, tmp_path: Path
) -> None:
    run, out = make_run(tmp_path / "run", "llama", *LORA), tmp_path / "model"
    answer = json.loads(succeed("export-model", "--run", run, "--out", out, "--without-base", "--json"))
    assert answer["base"] == read_json(run / "llm" / "best" / "lora" / "base.json")
    assert not list(out.glob(BASE_WEIGHTS))
    base = tmp_path / "run-llm"
    [one] = json.loads(succeed("translate", video, "--model", out, "--base", base, "--json"))["translations"]
    assert one["text"] == Translator.from_run(run)(video).text != ""
    alone = commands.slt_cache("translate", video, "--model", out)
    assert alone.code == 2 and answer["base"]["sha256"][:12] in alone.err and "--base" in alone.err
    assert slt_cache.SignTranslator.from_pretrained(out, base=base).about.llm == base.name
    with pytest.raises(InputError, match=r"with --base \(in Python: base=\)"):
        slt_cache.SignTranslator.from_pretrained(out)
    with pytest.raises(
        InputError, match=r"^llm.init_from .*model: exported without the LLM .* Name llm/best of the run"
    ):
        find(str(out))
    with pytest.raises(InputError, match=r"exported without its LLM, so stage 2 cannot start with it\. Name the LLM"):
        require_whole_llm(str(out))
    other = make_run(tmp_path / "other", "llama", "llm.lora.r=2").with_name("other-llm")
    from safetensors.torch import load_file, save_file

    tensors = load_file(other / "model.safetensors")
    save_file({name: tensor + 1e-3 for name, tensor in tensors.items()}, other / "model.safetensors", {"format": "pt"})
    wrong = commands.slt_cache("translate", video, "--model", out, "--base", other)
    assert wrong.code == 2 and "not the one that LoRA was trained on" in wrong.err and len(wrong.err.splitlines()) == 1


@pytest.mark.parametrize("family", ["llama", "mbart"])
def test_a_trimmed_llm_under_lora_is_made_again_from_the_whole_one(family: str, video: Path, tmp_path: Path) -> None:
    sentences = ("der regen kommt ☂", "im süden regnet es")
    run = make_run(tmp_path / "run", family, "llm.lora.r=2", trim=sentences)
    succeed("export-model", "--run", run, "--out", tmp_path / "out", "--without-base")
    expected = Translator.from_run(run)(video)
    trimmed, whole = run / "llm" / "trimmed", tmp_path / "run-llm"
    for base in (whole, trimmed):
        found = Translator.from_pretrained(tmp_path / "out", base=base)(video)
        assert (found.texts, found.scores) == (expected.texts, expected.scores)
    shutil.rmtree(trimmed)
    ran = commands.slt_cache("export-model", "--run", run, "--out", tmp_path / "other", "--without-base")
    assert ran.code == 2 and "was trimmed, and " in ran.err and not (tmp_path / "other").exists(), ran.err


def test_a_base_where_there_is_none_to_leave_out_or_to_take_is_refused(
    run: Path, exported: Path, video: Path, tmp_path: Path
) -> None:
    ran = commands.slt_cache("export-model", "--run", run, "--out", tmp_path / "out", "--without-base")
    assert ran.code == 2 and "without LoRA" in ran.err and not (tmp_path / "out").exists()
    for where in (["--model", exported], ["--run", run]):
        ran = commands.slt_cache("translate", video, *where, "--base", tmp_path)
        assert ran.code == 2 and f"base {tmp_path}" in ran.err


@pytest.mark.parametrize("name", ["adapter.safetensors", "model.safetensors", "encoder/encoder.safetensors"])
def test_a_damaged_or_missing_file_is_named_in_one_line(name: str, exported: Path, video: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    data = bytearray((folder / name).read_bytes())
    data[-5] ^= 1
    (folder / name).write_bytes(data)
    for problem in ("damaged", "missing"):
        ran = commands.slt_cache("translate", video, "--model", folder)
        assert ran.code == 2 and f"{folder / name}: {problem}" in ran.err and len(ran.err.splitlines()) == 1
        (folder / name).unlink(missing_ok=True)


def test_a_folder_of_another_kind_is_named_with_what_to_use(run: Path, video: Path, tmp_path: Path) -> None:
    says = {
        run: "a run folder",
        run / "llm" / "best": "without its visual encoder",
        run / "visual" / "best": "not a translator",
        run.with_name("run-llm"): "not a model folder",
        tmp_path: "not a model folder",
        tmp_path / "nowhere": "neither the folder",
    }
    for folder, problem in says.items():
        ran = commands.slt_cache("translate", video, "--model", folder)
        assert ran.code == 2 and problem in ran.err and len(ran.err.splitlines()) == 1, ran.err
        with pytest.raises(InputError, match=problem):
            Translator.from_pretrained(folder)


def test_an_encoder_of_another_model_in_the_folder_is_refused(exported: Path, video: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", "mbart")
    succeed("export-model", "--run", other, "--out", tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "encoder")
    shutil.copytree(exported / "encoder", tmp_path / "model" / "encoder")
    ran = commands.slt_cache("translate", video, "--model", tmp_path / "model")
    assert ran.code == 2 and "encoder" in ran.err and len(ran.err.splitlines()) == 1


def test_a_named_encoder_is_exported_with_its_files_and_another_one_is_refused(video: Path, tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), weights := tmp_path / "resnet18.pth")
    run, out = tmp_path / "run", tmp_path / "model"
    make_run(run, "mbart", "encoder.name=resnet18", f"encoder.weights={weights}", "video.mean=[0.5,0.5,0.5]")
    of_run = Translator.from_run(run, "cpu")(video)
    succeed("export-model", "--run", run, "--out", out)
    shutil.rmtree(run)
    weights.unlink()
    found = Translator.from_pretrained(out, "cpu").translate(video)
    assert (found.text, found.scores) == (of_run.text, of_run.scores) and found.text
    assert not [one for one in ("settings.yaml", "README.md") if str(tmp_path) in (out / one).read_text("utf-8")]
    assert "| visual encoder | code BSD-3-Clause" in (out / "README.md").read_text(encoding="utf-8")
    for setting, says in (("name=resnet34", "not the weights of"), ("weights=none", "encoder.weights: fixed in")):
        ran = commands.slt_cache("translate", video, "--model", out, "--set", f"encoder.{setting}")
        assert ran.code == 2 and says in ran.err, ran.err


def test_a_model_folder_runs_no_program_that_it_names(exported: Path, video: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "model"))
    (folder / "settings.yaml").write_text("encoder: {name: 'command:extract.sh'}\n", encoding="utf-8")
    (folder / "encoder" / "extract.sh").write_text("#!/bin/sh\ntouch ran\n", encoding="utf-8")
    record = read_record(folder)
    assert record is not None
    save_record(folder, record)
    ran = commands.slt_cache("translate", video, "--model", folder)
    assert ran.code == 2 and "--set encoder.name=command:PATH" in ran.err, ran.err
    (folder / "settings.yaml").write_text("encoder: {python: 'encoder/extract.sh'}\n", encoding="utf-8")
    save_record(folder, record)
    assert read_model_folder(folder).config.encoder.python is None


def test_settings_that_the_model_was_trained_with_are_refused_for_a_model_folder(exported: Path, video: Path) -> None:
    ran = commands.slt_cache("translate", video, "--model", exported, "--set", "video.keep_rate=1.0")
    assert ran.code == 2 and "video.keep_rate" in ran.err
    ran = commands.slt_cache("translate", video, "--model", exported, "--run", exported)
    assert ran.code == 2 and "--model" in ran.err


def test_the_same_call_translates_one_video_or_many(exported: Path, video: Path) -> None:
    translator = Translator.from_pretrained(exported, device="cpu")
    one = translator.translate(video)
    assert isinstance(one, Translation) and one.text == translator.translate(str(video)).text
    assert [found.text for found in translator.translate([video, video])] == [one.text] * 2
    with pytest.raises(InputError, match=r"nowhere\.mp4"):
        translator.translate("nowhere.mp4")
    assert read_object(exported / "sign_translator.json")["llm"] == "run-llm"
