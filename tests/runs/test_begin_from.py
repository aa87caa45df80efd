"""A run folder begun from another: what is taken over, and when that is refused."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from slt_cache.config import Config, save_config
from slt_cache.corpora.base import Clip
from slt_cache.corpora.manifest import write_manifest
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.parts import add_splits, content_of
from slt_cache.hashes import PREPARATION_UNSIGNED, file_sha256, read_signed, write_signed
from slt_cache.locks import exclusive
from slt_cache.runs import begin_from as module
from slt_cache.runs.begin_from import SMALL, begin_from, begun_from, is_of_other_run
from slt_cache.runs.run import Run
from tests.helpers.caches import IDS, add_split, facts_of, rows_of
from tests.helpers.commands import slt_cache


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run on imported features with a pre-trained LLM, large weights among its files, and a folder that is no run."""
    llm = tmp_path / "run" / "llm" / "pretrained" / "best"
    llm.mkdir(parents=True)
    (llm / "model.safetensors").write_bytes(bytes(SMALL + 1))
    (llm / "record.json").write_text("{}")
    settings = Config.model_validate({"features": {"level": "imported"}, "corpus": {"name": "tsv"}})
    save_config(settings, tmp_path / "run" / "config.yaml")
    add_split(tmp_path / "run" / "feats.h5", rows_of(), facts_of())
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").touch()
    return tmp_path


def begun(folder: Path) -> Path:
    begin_from(folder / "run", folder / "new", "feats.h5")
    return folder / "new" / "llm" / "pretrained" / "best"


def test_what_is_large_is_linked_and_what_is_small_is_copied(folder: Path) -> None:
    old, new = folder / "run" / "llm" / "pretrained" / "best", begun(folder)
    assert (new / "model.safetensors").samefile(old / "model.safetensors")
    assert not (new / "record.json").samefile(old / "record.json")
    assert (folder / "new" / "config.yaml").read_bytes() == (folder / "run" / "config.yaml").read_bytes()
    assert FeatureCache(folder / "new" / "feats.h5", "train").ids == list(IDS)
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize("llm", ["trimmed", "prompted", "initial"])
def test_the_llm_that_stage_2_begins_with_is_linked_rather_than_made_again(folder: Path, llm: str) -> None:
    weights = folder / "run" / "llm" / llm / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(bytes(SMALL + 1))
    begun(folder)
    assert (folder / "new" / "llm" / llm / weights.name).samefile(weights)


def test_a_cache_in_several_files_is_taken_over(folder: Path) -> None:
    cache = folder / "run" / "feats.h5"
    cache.unlink()
    add_splits(cache, [content_of(facts_of(), rows_of())], max_bytes=16_500)
    begun(folder)
    assert cache.is_dir() and FeatureCache(folder / "new" / "feats.h5", "train").ids == list(IDS)
    begun(folder)  # unchanged
    add_splits(cache, [content_of(facts_of(), rows_of(seed=1))])
    with pytest.raises(InputError, match=r"has changed since .*feats\.h5/index\.json"):
        begun(folder)


def test_begun_once_it_stays_as_it_is_and_a_change_of_the_other_run_is_named(folder: Path) -> None:
    new, record = begun(folder), folder / "run" / "llm" / "pretrained" / "best" / "record.json"
    (folder / "new" / "config.yaml").write_text("# of its own\n")
    begun(folder)
    assert (folder / "new" / "config.yaml").read_text() == "# of its own\n"
    record.write_text('{"finished": true}')
    with pytest.raises(
        InputError, match=r"has changed since .*new was started from it \(llm/pretrained/best/record\.json\)"
    ):
        begun(folder)
    assert (new / "record.json").read_text() == "{}"


@pytest.mark.parametrize("edited", [False, True])
def test_the_new_manifest_is_as_prepared_unless_the_other_was_edited(folder: Path, edited: bool) -> None:
    run, new = folder / "run", folder / "new"
    write_manifest(run / "manifest.tsv", [Clip("one", "train", run / "one.mp4", None, None, "ein satz")])
    known = "0" * 64 if edited else file_sha256(run / "manifest.tsv")
    write_signed(run / "prepare.json", {"manifest_sha256": known, "source_sha256": {}}, PREPARATION_UNSIGNED)
    begun(folder)
    assert (new / "manifest.tsv").read_bytes() != (run / "manifest.tsv").read_bytes()  # its paths are relative
    made = read_signed(new / "prepare.json", PREPARATION_UNSIGNED)["manifest_sha256"]
    assert made == ("0" * 64 if edited else file_sha256(new / "manifest.tsv"))
    begun(folder)


def test_a_training_is_of_the_other_run_until_it_is_trained_here(folder: Path) -> None:
    new = begun(folder)
    assert is_of_other_run(folder / "new", "llm/pretrained")
    assert not is_of_other_run(folder / "new", "visual")
    assert not is_of_other_run(folder / "run", "llm/pretrained")
    (new / "record.json").write_text('{"finished": true}')
    assert not is_of_other_run(folder / "new", "llm/pretrained")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--run", "new", "--from", "nosuch"), "not a run folder"),
        (("--from", "run"), "--run"),
        (("--run", "run", "--from", "run"), "the run itself"),
        (("--run", "own", "--from", "run"), "not empty"),
        (("--run", "new", "--from", "run", "--features", "nosuch.h5"), "there is no such feature cache"),
    ],
)
def test_an_experiment_that_cannot_begin_makes_no_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(folder)
    ran = slt_cache("train-llm", *options)
    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert not (folder / "new").exists()
    assert not list(folder.glob("*.tmp"))


def test_a_folder_that_another_call_makes_meanwhile_is_kept_when_this_one_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill, new, other_call = module._fill, folder / "new", folder / "new.1-01234567.tmp"

    def by_both(source: Run, temporary: Path, caches: dict[str, Path]) -> None:
        fill(source, temporary, caches)
        monkeypatch.setattr(module, "_fill", fill)
        monkeypatch.setattr(module, "temporary_path", lambda path: other_call)
        begin_from(folder / "run", new, "feats.h5")
        (new / "of_the_other").touch()

    monkeypatch.setattr(module, "_fill", by_both)
    with pytest.raises(InputError, match="no"), begun_from(folder / "run", new, "feats.h5") as named:
        assert named == [str(new / "feats.h5")]
        raise InputError("no")
    assert (new / "of_the_other").is_file()
    assert not list(folder.glob("*.tmp"))


def refused_with(error: SltCacheError, before: Callable[[Path], object], folder: Path) -> bool:
    """Returns whether a new folder is still there once a training in it failed."""
    with pytest.raises(type(error)), begun_from(folder / "run", folder / "new", "feats.h5"):
        before(folder / "new")
        raise error
    assert not list(folder.glob("*.tmp"))
    return (folder / "new" / "feats.h5").is_file()


def write_trimmed(new: Path) -> None:
    (new / "llm" / "trimmed").mkdir()
    (new / "llm" / "trimmed" / "config.json").touch()


def test_a_new_folder_is_removed_only_by_a_refusal_before_anything_was_made_there(folder: Path) -> None:
    nothing = Path.exists
    assert not refused_with(InputError("llm.name: no such LLM"), nothing, folder)
    assert not refused_with(InputError("use a new folder, --run newer"), nothing, folder)
    assert refused_with(SltCacheError("epoch 1: the loss is not finite"), nothing, folder)
    assert refused_with(InputError("llm.name: no such LLM"), nothing, folder)  # the last call has made it
    shutil.rmtree(folder / "new")
    assert refused_with(InputError("epoch 1: no more"), write_trimmed, folder)
    shutil.rmtree(folder / "new")
    assert refused_with(InputError(f"start over: train-llm --run {folder / 'new'} --restart"), nothing, folder)


def test_a_new_folder_stays_while_another_process_holds_a_lock_there(folder: Path) -> None:
    new, held = folder / "new", ExitStack()
    with held:
        lock = exclusive(new / "llm" / "lock", "llm")
        assert refused_with(InputError("llm is being written"), lambda _: held.enter_context(lock), folder)
    assert (new / "config.yaml").is_file()
