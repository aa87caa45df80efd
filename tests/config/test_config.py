"""Settings: strict, frozen, and errors that name the key and the file."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from slt_cache.config import (
    AugmentationConfig,
    Config,
    LlmTrainingConfig,
    differences,
    is_as_written,
    load_config,
    save_config,
    shipped_configs,
)
from slt_cache.errors import InputError


def write(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(source: str, *overrides: str) -> str:
    with pytest.raises(InputError) as refused:
        load_config(source, overrides)
    return str(refused.value)


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_config_loads_with_an_override_on_top(name: str) -> None:
    assert load_config(name, ["seed=41"]).seed == 41


def test_the_avatar_config_is_shipped() -> None:
    assert "avatar" in shipped_configs()


def test_the_defaults_are_the_papers() -> None:
    config = Config()
    assert (config.video.keep_rate, config.video.keep_every, config.video.size) == (0.25, 4, 224)
    assert config.light_t.size == "base"
    visual = config.visual_training
    assert (visual.optimizer, visual.lr, visual.momentum, visual.batch_size, visual.epochs) == ("sgd", 1e-2, 0.9, 8, 75)
    llm = config.llm_training
    assert (llm.lr, llm.adapter_lr, llm.batch_size) == (1e-5, 1e-3, 16)
    assert visual.label_smoothing == llm.label_smoothing == 0.2
    assert config.llm.name == "facebook/mbart-large-cc25"
    assert config.features.level == "sign"
    assert config.generation.num_beams == 5
    assert config.augmentation.flip == 0.0


@pytest.mark.parametrize(
    ("name", "language", "preset"),
    [("phoenix14t", "de_DE", "phoenix14t"), ("csl_daily", "zh_CN", "csl-daily"), ("how2sign", "en_XX", "how2sign")],
)
def test_the_configs_of_the_papers_corpora_have_the_papers_settings(name: str, language: str, preset: str) -> None:
    config = load_config(name)
    assert config.corpus.name == name.replace("_", "-")
    assert (config.llm.language, config.scoring.preset) == (language, preset)
    for section in ("encoder", "light_t", "visual_training", "llm_training", "features", "generation"):
        assert getattr(config, section) == getattr(Config(), section)
    assert (config.video.keep_rate, config.video.size) == (0.25, 224)
    assert config.augmentation.flip == 0.0


def test_an_unknown_key_is_refused_with_its_name_the_file_and_the_nearest_key(tmp_path: Path) -> None:
    source = write(tmp_path, "video:\n  keep_rat: 0.25\n")
    message = refusal(source)
    assert "video.keep_rat;" in message
    assert source in message
    assert "did you mean keep_rate?" in message


def test_an_unknown_section_is_refused_with_the_nearest_section(tmp_path: Path) -> None:
    assert "unknown key vdeo; did you mean video?" in refusal(write(tmp_path, "vdeo:\n  size: 32\n"))


def test_a_key_like_no_other_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "light_t:\n  qqqq: 1\n"))
    assert "light_t.qqqq" in message
    assert "known keys: size, dropout" in message


@pytest.mark.parametrize(
    ("text", "key", "got"),
    [
        ("video:\n  size: large\n", "video.size", "'large'"),
        ("video:\n  size: 0\n", "video.size", "0"),
        ("visual_training:\n  lr: -1.0\n", "visual_training.lr", "-1.0"),
        ("visual_training:\n  lr: .nan\n", "visual_training.lr", "nan"),
        ("llm_training:\n  label_smoothing: 1.0\n", "llm_training.label_smoothing", "1.0"),
        ("light_t:\n  size: huge\n", "light_t.size", "'huge'"),
        ("video: 3\n", "video", "3"),
        ("encoder:\n  kernel: 4\n", "kernel", "4"),
        ("1: 2\n", "1", "1"),
        ("augmentation:\n  rotation: -1.0\n", "augmentation.rotation", "-1.0"),
        ("augmentation:\n  rotation: 45.1\n", "augmentation.rotation", "45.1"),
        ("augmentation:\n  contrast: 1.0\n", "augmentation.contrast", "1.0"),
        ("augmentation:\n  saturation: -0.1\n", "augmentation.saturation", "-0.1"),
        ("augmentation:\n  hue: 0.51\n", "augmentation.hue", "0.51"),
        ("augmentation:\n  hue: .nan\n", "augmentation.hue", "nan"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_the_file_and_the_value(
    tmp_path: Path, text: str, key: str, got: str
) -> None:
    source = write(tmp_path, text)
    message = refusal(source)
    assert f"config {source}: {key}" in message or f" {key} " in message
    assert got in message


def test_all_wrong_settings_are_named_at_once(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "seed: x\nvideo:\n  fit: squeeze\n"))
    assert "seed" in message
    assert "video.fit" in message


@pytest.mark.parametrize("rate", ["0.3", "0", "-0.25", "1.5"])
def test_a_rate_that_keeps_no_whole_number_of_frames_is_refused(rate: str) -> None:
    message = refusal("avatar", f"video.keep_rate={rate}")
    assert "video.keep_rate" in message
    assert rate in message


@pytest.mark.parametrize(("rate", "every"), [("1", 1), ("0.5", 2), ("0.25", 4), ("0.125", 8)])
def test_a_keep_rate_is_one_frame_in_so_many(rate: str, every: int) -> None:
    assert load_config("avatar", [f"video.keep_rate={rate}"]).video.keep_every == every


def test_a_crop_larger_than_the_frame_is_refused() -> None:
    message = refusal("avatar", "video.resize=64", "video.size=65")
    assert "65" in message
    assert "64" in message
    assert load_config("avatar", ["video.resize=64", "video.size=64"]).video.size == 64


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("video.size=30", 30),
        ("llm_training.lr=1e-3", 1e-3),
        ("llm_training.lr=0.5", 0.5),
        ("video.blank=true", True),
        ("video.mean=[0.1, 0.2, 0.3]", (0.1, 0.2, 0.3)),
        ("visual_training.clip_norm=null", None),
        ("llm.name=some=where", "some=where"),
        ("seed = 7", 7),
    ],
)
def test_an_override_is_read_as_yaml(override: str, value: Any) -> None:
    place: Any = load_config("avatar", [override])
    for key in override.partition("=")[0].strip().split("."):
        place = getattr(place, key)
    assert place == value
    assert type(place) is type(value)


def test_the_last_override_of_a_key_wins_and_the_file_keeps_the_rest(tmp_path: Path) -> None:
    source = write(tmp_path, "video:\n  size: 40\n  resize: 50\n")
    config = load_config(source, ["video.size=41", "video.size=42"])
    assert (config.video.size, config.video.resize) == (42, 50)


def test_an_override_may_open_a_section_that_the_file_leaves_empty(tmp_path: Path) -> None:
    source = write(tmp_path, "video:\n")
    assert load_config(source, ["video.size=42"]).video.size == 42
    assert load_config(source).video == Config().video


@pytest.mark.parametrize("override", ["video.size", "=3", "video.=3", "", "seed.deep=3", "video.size=[1"])
def test_a_malformed_override_is_refused_and_repeated(override: str, tmp_path: Path) -> None:
    assert f"--set {override}" in refusal(write(tmp_path, "seed: 1\n"), override)


def test_an_override_with_an_unknown_key_is_refused_with_the_nearest_key() -> None:
    assert "unknown key video.sise; did you mean size?" in refusal("avatar", "video.sise=3")


@pytest.mark.parametrize(("text", "says"), [("video: [1\n", "not valid YAML"), ("- a\n- b\n", "expected sections")])
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, text: str, says: str) -> None:
    source = write(tmp_path, text)
    message = refusal(source)
    assert source in message
    assert says in message


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("corpus:\n  root: für\n".encode("latin-1"))
    assert str(path) in refusal(str(path))


def test_a_name_that_is_no_config_is_refused_with_the_shipped_ones() -> None:
    message = refusal("avatr")
    assert "avatr" in message
    assert all(name in message for name in shipped_configs())


def test_a_config_cannot_be_changed() -> None:
    config: Any = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        config.video.size = 1


@pytest.mark.parametrize("name", shipped_configs())
def test_saving_and_loading_gives_the_same_config(name: str, tmp_path: Path) -> None:
    config = load_config(name, ["corpus.root=/daten/für uns", "visual_training.lr=3.3e-05", "video.keep_rate=0.125"])
    save_config(config, tmp_path / "config.yaml")
    assert load_config(str(tmp_path / "config.yaml")) == config


def test_channel_dropout_is_recorded_where_it_is_set() -> None:
    assert "channel_dropout" not in LlmTrainingConfig().recorded()
    settings = LlmTrainingConfig(channel_dropout=0.2)
    assert settings.recorded() == {**LlmTrainingConfig().recorded(), "channel_dropout": 0.2}
    assert LlmTrainingConfig.model_validate(settings.recorded()) == settings


def test_augmentation_is_recorded_as_before_there_was_rotation_where_that_is_off() -> None:
    before = {"phase": True, "crop": True, "shift": 0.0, "flip": 0.0, "brightness": 0.0}
    assert AugmentationConfig().recorded() == before
    for name in ("rotation", "contrast", "saturation", "hue"):
        settings = AugmentationConfig.model_validate({name: 0.2})
        assert settings.recorded() == {**before, name: 0.2}
        assert AugmentationConfig.model_validate(settings.recorded()) == settings


def test_dev_is_searched_greedily_and_everything_else_stays() -> None:
    generation = Config().generation
    assert (generation.num_beams, generation.on_dev.num_beams) == (5, 1)
    assert generation.on_dev == generation.model_copy(update={"num_beams": 1})


def test_a_saved_config_states_the_defaults_too(tmp_path: Path) -> None:
    save_config(Config(), tmp_path / "config.yaml")
    assert "momentum: 0.9" in (tmp_path / "config.yaml").read_text(encoding="utf-8")


def test_differences_name_nested_keys_and_both_values() -> None:
    made, asked = Config().model_dump(mode="json"), load_config("avatar", ["seed=5"]).model_dump(mode="json")
    asked["new"] = 1
    found = differences(made, asked)
    assert "seed: made with 0, asked for 5" in found
    assert "video.size: made with 224, asked for 32" in found
    assert "new: made with None, asked for 1" in found
    assert not any(line.startswith(("generation.num_beams", "video:")) for line in found)
    assert differences(made, made) == []


def test_differences_name_the_default_of_a_setting_that_a_record_omits() -> None:
    for section in ("visual_training", "llm_training", "loop"):
        by_ter: dict[str, Any] = {section: {"select_by": "ter"}}
        by_default: dict[str, Any] = {section: {}}
        assert differences(by_ter, by_default) == [f"{section}.select_by: made with ter, asked for bleu4"]
        assert differences(by_default, by_ter) == [f"{section}.select_by: made with bleu4, asked for ter"]
    assert differences({"encoder": {}}, {"encoder": {"chunk_frames": 8}}) == [
        "encoder.chunk_frames: made with None, asked for 8"
    ]


# ---- YAML that is odd, hostile or damaged ----


def bomb(levels: int, width: int) -> str:
    """Aliases of aliases: width ** levels values in a few hundred bytes."""
    lines = [f"a0: &a0 [{', '.join(['lol'] * width)}]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        bomb(9, 9),
        "a: &a [*a]\n",
        "seed: " + "[" * 5000 + "]" * 5000,
        "seed: [" + "1, " * 20_000 + "1]\n",
        "corpus:\n  root: [" + "x" * 100_000 + "]\n",
        "".join(f"key{number}: 1\n" for number in range(5000)),
        "x" * 100_000 + ": 1\n",
        "seed: " + "9" * 100_000 + "\n",
        "video:\n  size: {" + ", ".join(f"k{number}: {'y' * 500}" for number in range(50)) + "}\n",
        "x" * 1_100_000,
    ],
)
def test_a_small_file_makes_no_long_message_and_takes_no_time(text: str, tmp_path: Path) -> None:
    message = refusal(write(tmp_path, text))
    assert len(message) < 3000
    assert "mine.yaml" in message


def test_an_alias_that_stands_for_a_value_is_read(tmp_path: Path) -> None:
    source = write(tmp_path, "visual_training: &both\n  batch_size: 4\nllm_training:\n  <<: *both\n  epochs: 3\n")
    config = load_config(source)
    assert (config.llm_training.batch_size, config.llm_training.epochs) == (4, 3)


def test_a_key_that_is_given_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, "video:\n  size: 32\n  resize: 64\n  size: 48\n"))
    assert "'size' is given twice, in lines 2 and 4" in message
    assert "'video' is given twice, in lines 1 and 3" in refusal(
        write(tmp_path, "video:\n  size: 3\nvideo:\n  fps: 2\n")
    )


def test_tabs_are_refused_with_what_to_do(tmp_path: Path) -> None:
    assert "spaces instead of tabs" in refusal(write(tmp_path, "video:\n\tsize: 32\n"))


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("llm.language=no", "no"),
        ("llm.language=on", "on"),
        ("llm.name=2026-01-31", "2026-01-31"),
        ("llm.name=1:30", "1:30"),
        ("seed=010", 10),
        ("visual_training.lr=1e-3", 1e-3),
        ("visual_training.lr=.5", 0.5),
        ("video.blank=yes", True),
        ("video.blank=off", False),
        ("video.frame_cache=off", False),
        ("video.frame_cache=on", True),
        ("llm.name='1e5'", "1e5"),
    ],
)
def test_words_and_numbers_are_read_as_they_are_meant(override: str, value: Any, tmp_path: Path) -> None:
    config = load_config("avatar", [override])
    save_config(config, tmp_path / "config.yaml")
    for one in (config, load_config(str(tmp_path / "config.yaml"))):
        place: Any = one
        for key in override.partition("=")[0].split("."):
            place = getattr(place, key)
        assert (place, type(place)) == (value, type(value))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seed=true", "seed: "),
        ("video.size=yes", "'yes'"),
        ("video.size=2026-01-31", "'2026-01-31'"),
        ("visual_training.lr=.inf", "finite"),
        ("visual_training.lr=1e999", "finite"),
        ("llm.name=123", "put text in quotes"),
        ("llm.language=true", "put text in quotes"),
        ("generation.length_penalty=.nan", "finite"),
        ("visual_training.epochs=1.5", "1.5"),
    ],
)
def test_what_is_no_such_value_is_refused_in_plain_words(override: str, says: str) -> None:
    message = refusal("avatar", override)
    assert says in message
    assert override.partition("=")[0] in message


def test_a_home_folder_is_meant_by_a_tilde_in_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    overrides = ("corpus.root=~/c", "encoder.weights=~/w.pt", "llm.name=~/llm", "llm_pretraining.text=~/t.txt")
    config = load_config("avatar", [*overrides, "video.frame_cache=~/frames"])
    assert config.corpus.root == "/home/somebody/c"
    assert config.encoder.weights == "/home/somebody/w.pt"
    assert config.llm.name == "/home/somebody/llm"
    assert config.llm_pretraining.text == "/home/somebody/t.txt"
    assert config.video.frame_cache == "/home/somebody/frames"
    assert load_config("avatar", ["llm.name=~nosuchuser/x"]).llm.name == "~nosuchuser/x"


def test_a_saved_config_that_is_cut_anywhere_is_no_other_config(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    save_config(load_config("avatar"), path)
    whole = path.read_bytes()
    assert is_as_written(path)
    for length in [*range(200), *range(200, len(whole) - 1, 97), len(whole) - 2]:
        path.write_bytes(whole[:length])
        try:
            assert not is_as_written(path) or load_config(str(path)) == load_config("avatar")
            loaded = load_config(str(path))
        except InputError as error:
            assert str(path) in str(error)
        else:
            assert loaded == load_config("avatar")


def test_a_saved_config_may_be_edited_and_every_flipped_bit_shows(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    save_config(Config(), path)
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace("seed: 0\n", "seed: 7\n", 1), encoding="utf-8")
    assert load_config(str(path)).seed == 7
    assert not is_as_written(path)
    path.write_text(
        "\n".join([*path.read_text(encoding="utf-8").splitlines()[:-1], "# end of config"]), encoding="utf-8"
    )
    assert is_as_written(path)
    for place in range(0, len(whole), 41):
        flipped = bytearray(whole.encode())
        flipped[place] ^= 1 << place % 7
        path.write_bytes(flipped)
        try:
            assert not is_as_written(path)
        except InputError as error:
            assert str(path) in str(error)


def test_a_config_written_by_hand_needs_no_last_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("seed: 3\n", encoding="utf-8")
    assert (load_config(str(path)).seed, is_as_written(path)) == (3, True)


def test_auto_workers_are_the_cores_shared_by_the_processes_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slt_cache.config.run.available_cores", lambda: 16)
    auto = load_config("avatar", ["compute.workers=auto"]).compute
    assert (auto.workers, auto.readers) == ("auto", 16)
    assert load_config("avatar", ["compute.workers=0"]).compute.readers == 0
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert auto.readers == 5
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "32")
    assert auto.readers == 1
