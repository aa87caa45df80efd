"""What a command does with settings: it saves what it used, refuses what contradicts a finished stage, ignores none."""

import shutil
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from slt_cache.checkpoints.record import Record, save_record
from slt_cache.config import load_config, save_config
from slt_cache.runs.settings_use import OWNED, STAGES, USED
from tests.helpers.commands import TINY, Ran, slt_cache
from tests.helpers.tiny_run import train_tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("settings") / "run")


def run_in(folder: Path, *words: str) -> Ran:
    return slt_cache(*words, "--run", folder)


CONTRADICTIONS = [
    ("train-llm", "visual_training.epochs=99", "2"),
    ("train-llm", "video.size=30", "32"),
    ("train-llm", "encoder.dim=16", "32"),
    ("train-visual", "llm_training.epochs=99", "2"),
    ("llm pretrain", "llm_training.epochs=99", "2"),
    ("llm pretrain", "light_t.size=small", "tiny"),
    ("extract-features", "video.keep_rate=0.5", "0.25"),
    ("extract-features", "video.fit=crop", "stretch"),
    ("extract-features", "llm_training.lr=0.1", "0.001"),
    ("eval", "video.keep_rate=0.5", "0.25"),
    ("eval", "llm_training.epochs=99", "2"),
    ("translate clip.mp4", "video.size=30", "32"),
    ("report", "encoder.dim=16", "32"),
    ("prepare avatar", "visual_training.epochs=99", "2"),
]


@pytest.mark.parametrize(("words", "setting", "made"), CONTRADICTIONS)
def test_a_setting_that_contradicts_a_finished_stage_is_refused_and_changes_nothing(
    finished: Path, words: str, setting: str, made: str
) -> None:
    config = finished / "config.yaml"
    before = config.read_bytes()
    ran = run_in(finished, *words.split(), "--set", setting)
    name, _, asked = setting.partition("=")
    assert ran.code == 2, ran.err
    assert f"error: {name}: " in ran.err
    assert f"made with {made}" in ran.err
    assert asked in ran.err
    assert f"--set {setting} --run {finished}" in ran.err
    assert config.read_bytes() == before


def test_a_setting_of_both_stages_concerns_the_one_that_is_trained(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    ran = run_in(run, "train-llm", "--set", "training.select_by=ter", "--restart")
    assert ran.code == 0, ran.err
    saved = load_config(str(run / "config.yaml"))
    assert (saved.visual_training.select_by, saved.llm_training.select_by) == ("bleu4", "ter")
    again = run_in(run, "train-llm", "--set", "training.select_by=chrf")
    assert again.code == 2 and "llm_training.select_by: made with ter, asked for chrf" in again.err
    refused = run_in(run, "eval", "--set", "training.select_by=chrf")
    assert refused.code == 2 and "visual_training.select_by: made with bleu4, asked for chrf" in refused.err


def test_plain_commands_find_what_is_trained_after_other_settings_were_given(finished: Path) -> None:
    assert run_in(finished, "train-llm", "--set", "generation.num_beams=2").code == 0
    assert load_config(str(finished / "config.yaml")).generation.num_beams == 2
    for words in ("train-visual", "llm pretrain", "extract-features", "train-llm"):
        ran = run_in(finished, *words.split())
        assert ran.code == 0, ran.err
        assert "already" in ran.err + ran.out, (words, ran.err)


@pytest.mark.parametrize(
    ("words", "setting"),
    [("eval", "seed=3"), ("extract-features", "generation.num_beams=2"), ("report", "seed=3")],
)
def test_a_setting_that_a_command_does_not_use_is_warned_of_and_not_saved(
    finished: Path, words: str, setting: str
) -> None:
    before = (finished / "config.yaml").read_bytes()
    ran = run_in(finished, words, "--set", setting)
    assert ran.code == 0, ran.err
    assert f"warning: --set {setting.partition('=')[0]}: {words} does not use it" in ran.err
    assert (finished / "config.yaml").read_bytes() == before


def test_a_network_used_as_it_comes_has_weights_of_its_own_beside_those_of_stage_1(
    finished: Path, tmp_path: Path
) -> None:
    run, weights = Path(shutil.copytree(finished, tmp_path / "run")), tmp_path / "resnet18.pth"
    torch.save(resnet18().state_dict(), weights)
    named = ("--encoder", "resnet18", "--set", f"encoder.weights={weights}", "--split", "dev")
    ran = run_in(run, "extract-features", *named, "--restart")
    assert ran.code == 0 and "warning" not in ran.err, ran.err
    encoder = load_config(str(run / "config.yaml")).encoder
    assert (encoder.weights, encoder.as_named().weights) == ("none", str(weights))
    for words in ("extract-features --split dev", "train-visual", "cache verify --encoder"):
        ran = run_in(run, *words.split())
        assert ran.code == 0, ran.err
    (other := tmp_path / "moved.pth").hardlink_to(weights)
    weights.unlink()
    ran = run_in(run, "cache", "verify", "--set", f"encoder.weights={other}")
    assert ran.code == 0 and "warning" not in ran.err, ran.err


def test_a_training_of_stage_1_leaves_the_weights_of_a_named_network_and_extraction_those_of_stage_1(
    finished: Path, tmp_path: Path
) -> None:
    run, weights = Path(shutil.copytree(finished, tmp_path / "run")), tmp_path / "resnet18.pth"
    (run / "feats.h5").unlink()
    torch.save(resnet18().state_dict(), weights)
    extract = ("extract-features", "--split", "dev", "--features", str(tmp_path / "x.h5"))
    ran = run_in(run, *extract, "--encoder", "resnet18", "--set", f"encoder.weights={weights}")
    [said] = [line for line in ran.out.splitlines() if line.startswith("next: ")]
    assert said.count("weights") == 1 and f"--set encoder.named_weights={weights}" in said
    config = load_config(str(run / "config.yaml"), ["encoder.name=resnet18", f"encoder.named_weights={weights}"])
    save_config(config, run / "config.yaml")
    for words in (("train-visual",), extract):
        before = (run / "config.yaml").read_bytes()
        ran = run_in(run, *words, "--set", f"encoder.weights={'none' if words[0] == 'train-visual' else weights}")
        assert ran.code == 0 and "already" in ran.err + ran.out and "warning" not in ran.err, ran.err
        assert "weights" not in ran.out and (run / "config.yaml").read_bytes() == before
    ran = run_in(run, "train-visual", "--set", f"encoder.weights={weights}")
    assert ran.code == 2 and "encoder.weights: made with none" in ran.err, ran.err


def test_equal_settings_are_no_contradiction(finished: Path) -> None:
    ran = run_in(finished, "extract-features", "--set", "video.keep_rate=0.25", "--set", "visual_training.epochs=2")
    assert ran.code == 0, ran.err


def test_stage_2_can_have_a_seed_of_its_own(finished: Path) -> None:
    ran = run_in(finished, "train-llm", "--seed", "5")
    assert ran.code == 2
    assert "seed: made with 0, asked for 5" in ran.err
    ran = run_in(finished, "train-llm", "--seed", "5", "--restart")
    assert ran.code == 0, ran.err
    config = load_config(str(finished / "config.yaml"))
    assert (config.seed, config.llm_training.seed) == (0, 5)
    for words in ("train-visual", "llm pretrain", "train-llm"):
        ran = run_in(finished, *words.split())
        assert ran.code == 0, ran.err
        assert "already" in ran.err, words
    ran = run_in(finished, "train-llm", "--seed", "0", "--restart")
    assert ran.code == 0, ran.err
    assert load_config(str(finished / "config.yaml")).llm_training.seed is None


def test_settings_for_later_stages_are_kept_by_an_earlier_command(finished: Path) -> None:
    config = load_config(str(finished / "config.yaml"))
    assert config.llm_training.epochs == 2  # of TINY, which only train-visual was given
    assert config.corpus.clips == 24


def test_a_failed_start_saves_no_settings(tmp_path: Path) -> None:
    run = tmp_path / "run"
    wrong = ("--set", "encoder.weights=nosuch.pt")
    refused = slt_cache("train-visual", "--run", run, "--config", TINY, *wrong)
    assert refused.code == 2, refused.err
    assert not (run / "config.yaml").exists()
    assert slt_cache("train-visual", "--run", run, "--config", TINY, "--set", "visual_training.epochs=1").code == 0
    before = (run / "config.yaml").read_bytes()
    assert slt_cache("train-visual", "--run", run, "--restart", *wrong).code == 2
    assert (run / "config.yaml").read_bytes() == before
    ran = slt_cache("train-visual", "--run", run)
    assert ran.code == 0
    assert "already" in ran.err


def test_every_section_and_every_command_of_the_tables_exists() -> None:
    from slt_cache.config import Config

    assert set(OWNED.values()) == set(STAGES)
    settings = Config().model_dump()
    for used in (OWNED, *USED.values()):
        for name in used:
            section, _, key = name.partition(".")
            assert section in settings, name
            assert not key or key in settings[section], name


# ---- a forgotten or mistyped --run ----


@pytest.mark.parametrize(
    "words", ["train-visual", "train-joint", "llm pretrain", "bench visual", "train-llm --features x.h5"]
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_named_folder_without_a_config_never_gets_the_demo_corpus(tmp_path: Path, words: str, exists: bool) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("seed: 1\n")
    folder = tmp_path / "mien"
    if exists:
        folder.mkdir()
    ran = run_in(folder, *words.split())
    assert ran.code == 2, ran.err
    assert f"Did you mean {tmp_path / 'mine'}?" in ran.err
    assert f"slt-cache prepare tsv --root DIR --run {folder}" in ran.err
    assert "--config avatar" in ran.err
    assert list(folder.glob("*")) == []


@pytest.mark.parametrize(
    "words", ["eval", "extract-features", "translate a.mp4", "report", "cache info", "llm merge --out x"]
)
def test_a_folder_that_is_not_there_is_no_run_for_any_command(tmp_path: Path, words: str) -> None:
    ran = run_in(tmp_path / "nope", *words.split())
    assert ran.code == 2, ran.err
    assert "no such run folder" in ran.err
    assert not (tmp_path / "nope").exists()


def test_the_bare_command_draws_the_demo_and_says_so_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "avatar").mkdir(parents=True)
    (tmp_path / "runs" / "avatar" / "config.yaml").write_text(TINY.read_text())
    ran = slt_cache("train-visual", "--set", "visual_training.epochs=1")
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[0].startswith("no --run and no --config: using runs/avatar, the drawn demo corpus")
    assert (tmp_path / "runs" / "avatar" / "corpus").is_dir()


def test_advice_carries_the_config_and_settings_that_no_folder_holds_yet(tmp_path: Path) -> None:
    run = tmp_path / "a run"
    ran = slt_cache("extract-features", "--run", run, "--config", TINY, "--set", "features.views=2")
    assert ran.code == 2
    assert f"slt-cache train-visual --run '{run}' --config {TINY} --set features.views=2" in ran.err


def test_an_edited_config_is_used_and_a_cut_one_refused(finished: Path) -> None:
    path = finished / "config.yaml"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace("num_beams: ", "num_beams:  "), encoding="utf-8")
    ran = run_in(finished, "train-visual")
    assert ran.code == 0, ran.err
    assert f"{path}: edited or damaged" in ran.err
    path.write_text(whole[: len(whole) // 2], encoding="utf-8")
    ran = run_in(finished, "train-visual")
    assert ran.code == 2
    assert "truncated" in ran.err
    assert str(path) in ran.err
    path.write_text(whole, encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "setting"), [("llm pretrain", "llm.lora.r=4"), ("train-visual", "llm.name=small-mt5")]
)
def test_what_a_finished_stage_shares_with_a_finished_later_one_is_not_changed_by_it(
    finished: Path, words: str, setting: str
) -> None:
    before = (finished / "config.yaml").read_bytes()
    ran = run_in(finished, *words.split(), "--set", setting)
    assert ran.code == 0, ran.err
    assert f"{setting} is not saved: stage 2 of {finished} was made with" in ran.err
    assert (finished / "config.yaml").read_bytes() == before
    assert "trained already" in run_in(finished, "train-llm").err


COMMANDS = (
    ("prepare", "avatar"),
    ("train-visual",),
    ("extract-features",),
    ("llm", "pretrain"),
    ("train-llm",),
    ("train-joint",),
    ("eval",),
    ("translate", "clip.mp4"),
    ("report",),
    ("cache", "verify"),
    ("config", "show"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("lost", ["all", "end"])
def test_settings_that_were_lost_are_named_by_every_command(
    tmp_path: Path, command: tuple[str, ...], lost: str
) -> None:
    path = tmp_path / "config.yaml"
    save_config(load_config("avatar"), path)
    whole = path.read_text(encoding="utf-8")
    path.write_text("" if lost == "all" else whole[: len(whole) // 2], encoding="utf-8")
    refused = slt_cache(*command, "--run", tmp_path)
    assert refused.code == 2
    assert str(path) in refused.err and ("empty" if lost == "all" else "truncated") in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("command", COMMANDS[1:-1], ids=" ".join)
def test_a_trained_run_without_its_settings_is_not_read_as_the_demo(tmp_path: Path, command: tuple[str, ...]) -> None:
    save_record(tmp_path / "visual" / "best", Record("stage 1", {}, finished=True))
    refused = slt_cache(*command, "--run", tmp_path)
    assert refused.code == 2
    assert "config.yaml: missing" in refused.err or "holds no config.yaml" in refused.err
