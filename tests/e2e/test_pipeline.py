"""The commands one after another on a tiny corpus: what each leaves, and that nothing is done twice."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from slt_cache.checkpoints.translator import load_llm
from slt_cache.config import Config
from slt_cache.decoding.search import Hypothesis
from slt_cache.errors import InputError, SltCacheError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.verify import cache_problems
from slt_cache.pipeline import evaluate as evaluate_module
from slt_cache.pipeline.translate import Translator
from slt_cache.runs.eval_files import Translated
from slt_cache.runs.run import Run, open_run
from slt_cache.runs.scoring import score_hypotheses
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.tiny_run import succeed

ONE_EPOCH = ("--set", "visual_training.epochs=1")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run folder after all commands of the tour."""
    run = tmp_path_factory.mktemp("finished") / "tiny"
    succeed("train-visual", "--run", run, "--config", TINY, *ONE_EPOCH)
    succeed("extract-features", "--split", "all", "--run", run)
    succeed("train-llm", "--features", "feats.h5", "--run", run)
    succeed("eval", "--run", run)
    yield run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to write into."""
    return Path(shutil.copytree(finished, tmp_path / "tiny"))


def test_the_run_folder_holds_what_the_contract_names(finished: Path) -> None:
    for name in (
        "config.yaml",
        "manifest.tsv",
        "visual/best/encoder.safetensors",
        "visual/best/light_t.safetensors",
        "visual/best/record.json",
        "visual/metrics.jsonl",
        "feats.h5",
        "llm/best/model.safetensors",
        "llm/best/adapter.safetensors",
        "llm/best/record.json",
        "llm/metrics.jsonl",
        "eval/test.json",
        "eval/test.tsv",
    ):
        assert (finished / name).is_file(), name
    assert not list(finished.rglob("*.tmp"))
    assert not (finished / "feats.h5.parts").exists()


def test_the_cache_holds_every_clip_with_one_step_for_each_kept_frame(finished: Path) -> None:
    for split, clips in (("train", 19), ("dev", 2), ("test", 3)):
        cache = FeatureCache(finished / "feats.h5", split)
        assert len(cache) == clips
        assert cache.complete
        steps = np.diff(cache.offsets)
        assert (steps == -(-cache.num_frames // 4)).all()
        assert cache.features.dtype == np.float16
    assert cache_problems(finished / "feats.h5") == []
    with h5py.File(finished / "feats.h5") as file:
        assert file["train/features"].chunks is None
        assert file["train"].attrs["spec_sha256"] == cache.spec.sha256


def test_a_finished_stage_is_not_done_again(run: Path) -> None:
    weights = (run / "visual/best/encoder.safetensors").stat().st_mtime_ns
    cache = (run / "feats.h5").stat().st_mtime_ns
    assert "trained already" in succeed("train-visual", "--run", run).err
    assert "already exist" in succeed("extract-features", "--split", "all", "--run", run).out
    assert "trained already" in succeed("train-llm", "--features", "feats.h5", "--run", run).err
    assert (run / "visual/best/encoder.safetensors").stat().st_mtime_ns == weights
    assert (run / "feats.h5").stat().st_mtime_ns == cache


def test_evaluation_from_video_gives_the_hypotheses_that_the_cache_gives(run: Path) -> None:
    cached = (run / "eval/test.tsv").read_text(encoding="utf-8")
    (run / "feats.h5").unlink()
    assert "reading 3 videos" in succeed("eval", "--run", run).err
    assert (run / "eval/test.tsv").read_text(encoding="utf-8") == cached


def test_what_was_translated_is_kept_where_scoring_fails(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in (run / "eval").iterdir()}

    def fail(*_: object) -> None:
        raise SltCacheError("no scores today")

    monkeypatch.setattr(evaluate_module, "score_hypotheses", fail)
    ran = slt_cache("eval", "--run", run, "--bootstrap", "50")
    kept = run / "eval/test.unscored.tsv"
    assert ran.code == 1
    assert f"slt-cache score {kept} {kept} --preset" in ran.err
    assert kept.read_bytes() == before[run / "eval/test.tsv"]
    assert {path: path.read_bytes() for path in before} == before
    monkeypatch.undo()
    assert slt_cache("score", kept, kept).code == 0
    succeed("eval", "--run", run, "--bootstrap", "50")
    assert not kept.exists()


def test_eval_says_that_all_hypotheses_are_empty_and_a_training_which_begins_so_does_not(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = [Hypothesis(clip_id, ("",), (0.0,), 0) for clip_id in FeatureCache(run / "feats.h5", "test").ids]
    assert score_hypotheses(open_run(run, None).config, empty, ["es regnet"] * 3)["bleu4"].value == 0
    assert "empty" not in capsys.readouterr().err
    monkeypatch.setattr(evaluate_module, "decode_cached", lambda *_: empty)
    assert "all 3 hypotheses are empty, so BLEU, chrF and ROUGE-L are 0" in succeed("eval", "--run", run).err


def test_settings_that_cannot_be_scored_with_are_told_before_anything_is_translated(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise InputError("scoring.preset: not set")

    monkeypatch.setattr(evaluate_module, "require_scoring", fail)
    monkeypatch.setattr(evaluate_module, "decode_cached", lambda *_: pytest.fail("it was translated first"))
    ran = slt_cache("eval", "--run", run)
    assert ran.code == 2 and "scoring.preset: not set" in ran.err


def test_a_hypothesis_with_a_tab_or_a_line_end_does_not_break_the_table() -> None:
    hypothesis = Hypothesis("clip", ("es\tregnet\r\nstark",), (0.0,), 0)
    done = Translated(Run(Path("run"), Config()), "llm", "test", [hypothesis], ["es regnet"])
    assert done.table.splitlines()[1:] == ["clip\tes regnet\tes regnet  stark"]


def test_a_live_translation_is_that_of_the_cached_clip(finished: Path) -> None:
    translator = Translator.from_run(finished)
    lines = (finished / "eval/test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for line in lines:
        clip_id, _, hypothesis = line.split("\t")
        found = translator(finished / "corpus" / "videos" / f"{clip_id}.mp4", nbest=2)
        assert found.text == hypothesis
        assert len(found.texts) == 2
        assert found.scores[0] >= found.scores[1]


def test_json_output_is_one_object_with_the_promised_keys(run: Path) -> None:
    video = next((run / "corpus" / "videos").glob("test-*.mp4"))
    promised = {
        ("train-visual", "--run", run): {"run", "best", "epochs", "seconds", "dev"},
        ("extract-features", "--split", "dev", "--run", run): {
            "features",
            "split",
            "clips",
            "frames",
            "seconds",
            "failed",
        },
        ("train-llm", "--features", "feats.h5", "--run", run): {"run", "best", "epochs", "seconds", "dev"},
        ("eval", "--run", run): {"split", "clips", "scores", "signatures", "hypotheses"},
        ("eval", "--run", run, "--model", "visual"): {"split", "clips", "scores", "signatures", "hypotheses"},
        ("translate", "--run", run, video): {"translations"},
        ("cache", "info", run / "feats.h5"): {"path", "splits"},
        ("cache", "verify", run / "feats.h5"): {"ok", "problems"},
        ("report", "--run", run): {"report"},
        ("compare", run, "--resamples", "40"): {"split", "clips", "metric", "groups", "signatures", "tests"},
    }
    for arguments, keys in promised.items():
        answer = json.loads(succeed(*arguments, "--json").out)
        assert keys <= answer.keys(), arguments
    scores = json.loads((run / "eval/test.json").read_text(encoding="utf-8"))["scores"]
    assert set(scores) == {"bleu1", "bleu2", "bleu3", "bleu4", "chrf", "rouge_l", "rouge_l_beta12"}


def test_a_cache_of_another_encoder_is_refused_by_name(run: Path) -> None:
    succeed("train-visual", "--run", run, "--restart", "--set", "visual_training.lr=2.0e-3")
    ran = slt_cache("extract-features", "--split", "train", "--run", run)
    assert ran.code == 2
    assert "encoder_sha256: file " in ran.err
    assert slt_cache("train-llm", "--features", "feats.h5", "--run", run, "--restart").code == 2
    ran = slt_cache("translate", "--run", run, next((run / "corpus" / "videos").glob("*.mp4")))
    assert ran.code == 2
    assert "not the one that stage 2 was trained on" in ran.err


def test_other_settings_for_a_trained_stage_are_refused_naming_them(run: Path) -> None:
    ran = slt_cache("train-visual", "--run", run, "--set", "visual_training.lr=0.5")
    assert ran.code == 2
    assert "visual_training.lr: made with 0.001, asked for 0.5" in ran.err
    (run / "feats.h5").unlink()
    ran = slt_cache("eval", "--run", run, "--set", "corpus.clips=30")
    assert ran.code == 2
    assert "corpus.clips: made with 24, asked for 30" in ran.err


def test_stage_2_opens_no_video(run: Path) -> None:
    shutil.rmtree(run / "corpus" / "videos")
    shutil.rmtree(run / "llm" / "best")
    succeed("train-llm", "--features", "feats.h5", "--run", run)
    succeed("eval", "--run", run)


def test_the_same_seed_trains_the_same_weights_and_another_seed_others(finished: Path, tmp_path: Path) -> None:
    first = load_file(finished / "visual/best/encoder.safetensors")
    corpus = f"corpus.root={finished / 'corpus'}"
    for seed, same in ((0, True), (1, False)):
        run = tmp_path / str(seed)
        succeed("train-visual", "--run", run, "--config", TINY, *ONE_EPOCH, "--set", corpus, "--seed", str(seed))
        again = load_file(run / "visual/best/encoder.safetensors")
        assert all(torch.equal(first[name], again[name]) for name in first) is same


def test_every_feature_level_goes_through_both_stages(finished: Path, tmp_path: Path) -> None:
    for level, dim in (("frame", 512), ("hidden", 256)):
        run = Path(shutil.copytree(finished, tmp_path / level))
        cache = tmp_path / f"{level}.h5"
        setting = ("--run", run, "--set", f"features.level={level}", "--features", cache)
        succeed("extract-features", "--split", "all", *setting)
        assert FeatureCache(cache, "dev").dim == dim
        succeed("train-llm", *setting, "--restart")
        (run / "feats.h5").unlink()
        succeed("eval", "--run", run)  # from video, at the level that stage 2 wants
        succeed("eval", "--run", run, "--model", "visual", "--features", cache)  # stage 1 alone reads its own level


def test_the_llm_from_scratch_lies_beside_the_pretrained_one(run: Path) -> None:
    before = (run / "llm/best/model.safetensors").read_bytes()
    succeed("train-llm", "--features", "feats.h5", "--run", run, "--set", "llm.pretrained=false")
    assert (run / "llm-from-scratch/best/model.safetensors").is_file()
    assert (run / "llm/best/model.safetensors").read_bytes() == before


def test_the_runs_own_config_is_used_without_naming_one(finished: Path) -> None:
    assert open_run(finished, None).config.encoder.dim == 32


def test_a_cache_without_dev_trains_and_says_how_to_add_it(run: Path) -> None:
    cache = run / "train-only.h5"
    succeed("extract-features", "--split", "train", "--run", run, "--features", cache)
    ran = succeed("train-llm", "--features", cache, "--run", run, "--restart")
    assert "holds no dev split" in ran.err
    assert "extract-features --split dev" in ran.err


def test_a_retrained_encoder_comes_to_new_scores_by_following_the_advice(run: Path) -> None:
    succeed("train-visual", "--run", run, "--restart", "--set", "visual_training.lr=2.0e-3")
    succeed("extract-features", "--split", "all", "--run", run, "--restart")
    refused = slt_cache("eval", "--run", run)
    assert refused.code == 2
    assert f"slt-cache train-llm --restart --run {run}" in refused.err
    succeed("train-llm", "--features", "feats.h5", "--run", run, "--restart")
    succeed("eval", "--run", run)


def test_a_device_named_once_is_not_remembered(run: Path) -> None:
    succeed("train-visual", "--run", run, "--device", "cpu")
    assert open_run(run, None).config.compute.device == "auto"


def test_training_from_scratch_does_not_change_what_the_run_is(run: Path) -> None:
    succeed("train-llm", "--features", "feats.h5", "--run", run, "--set", "llm.pretrained=false")
    assert open_run(run, None).config.llm.pretrained
    wider = ("--set", "llm.pretrained=false", "--set", "llm_pretraining.feed_forward=96")
    ran = slt_cache("train-llm", "--features", "feats.h5", "--run", run, *wider)
    assert ran.code == 2
    assert "feed_forward: made with 64, asked for 96" in ran.err


def test_other_text_for_a_made_tokenizer_is_refused_and_a_restart_of_stage_1_remakes_it(
    run: Path, tmp_path: Path
) -> None:
    text = tmp_path / "sentences.txt"
    text.write_text("ein ganz anderer satz\n" * 40, encoding="utf-8")
    other = ("--run", run, "--set", f"llm_pretraining.text={text}", "--set", "llm_pretraining.vocabulary=60")
    tokenizer = (run / "tokenizer" / "tokenizer.json").read_bytes()
    for restart in ([], ["--restart"]):  # of stage 2, which shares the tokenizer with stage 1 and does not own it
        ran = slt_cache("train-llm", *other, *restart)
        assert ran.code == 2
        assert "llm_pretraining.text" in ran.err and "another tokenizer" in ran.err
        assert (run / "tokenizer" / "tokenizer.json").read_bytes() == tokenizer
    succeed("train-visual", *other, "--restart")
    assert (run / "tokenizer" / "tokenizer.json").read_bytes() != tokenizer
    assert "trained already" in succeed("train-visual", *other).err


def test_changed_sentences_make_the_cache_stale(run: Path) -> None:
    manifest = run / "manifest.tsv"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("\t\t\t", "\t\t\tund "), encoding="utf-8")
    for arguments in (("eval",), ("train-llm", "--features", "feats.h5"), ("bench", "cache")):
        ran = slt_cache(*arguments, "--run", run)
        assert ran.code == 2, arguments
        assert "are not those of" in ran.err


def own_videos(finished: Path, folder: Path, splits: tuple[str, ...]) -> Path:
    """A folder of one's own with the videos of these splits."""
    shutil.copytree(finished / "corpus", folder / "corpus")
    lines = (finished / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines[1:] if line.split("\t")[1] in splits]
    (folder / "manifest.tsv").write_text("\n".join([lines[0], *kept]) + "\n", encoding="utf-8")
    return folder


def test_an_edited_manifest_of_ones_own_is_noticed(finished: Path, tmp_path: Path) -> None:
    own, run = own_videos(finished, tmp_path / "own", ("train",)), tmp_path / "run"
    arguments = ("prepare", "tsv", "--root", own, "--run", run, "--config", TINY, "--set", "llm.language=de_DE")
    assert slt_cache(*arguments).code == 1  # dev and test are missing
    with (own / "manifest.tsv").open("a", encoding="utf-8") as file:
        file.write("extra\ttrain\tcorpus/videos/dev-00000.mp4\t\t\tein satz\t\n")
    ran = slt_cache("train-visual", "--run", run)
    assert ran.code == 2
    assert "has changed since" in ran.err
    slt_cache(*arguments)
    assert "extra" in (run / "manifest.tsv").read_text(encoding="utf-8")


def test_a_corpus_without_dev_trains_and_keeps_the_last_weights(finished: Path, tmp_path: Path) -> None:
    own, run = own_videos(finished, tmp_path / "own", ("train", "test")), tmp_path / "run"
    language = ("--set", "llm.language=de_DE")
    ran = slt_cache("prepare", "tsv", "--root", own, "--run", run, "--config", TINY, *ONE_EPOCH, *language)
    assert (ran.code, "split without a clip  dev" in ran.err) == (1, True)
    ran = succeed("train-visual", "--run", run, "--json")
    assert json.loads(ran.out)["dev"] == {}
    succeed("extract-features", "--split", "all", "--run", run)
    succeed("train-llm", "--features", "feats.h5", "--run", run)
    succeed("eval", "--run", run)


def test_clips_of_a_single_kept_frame_train_and_translate(finished: Path, tmp_path: Path) -> None:
    """T = 1: one frame, one step; 3 clips in batches of 2 would leave one clip alone."""
    own, run = tmp_path / "own", tmp_path / "run"
    lines = ["id\tsplit\tvideo\tstart\tend\ttext"]
    for number in range(3):
        video = finished / "corpus" / "videos" / f"train-0000{number}.mp4"
        lines.append(f"{number}\ttrain\t{video}\t0.2\t0.24\tein satz mit nummer {number}")
    own.mkdir()
    (own / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = ("--set", "llm.language=de_DE", "--set", "visual_training.batch_size=2")
    slt_cache("prepare", "tsv", "--root", own, "--run", run, "--config", TINY, *settings)
    succeed("train-visual", "--run", run)
    succeed("extract-features", "--split", "train", "--run", run)
    assert FeatureCache(run / "feats.h5", "train").features.shape[0] == 3
    succeed("train-llm", "--features", "feats.h5", "--run", run)
    succeed("eval", "--run", run, "--split", "train")


def test_missing_videos_are_named_before_training_begins(run: Path) -> None:
    (run / "corpus" / "videos" / "train-00004.mp4").unlink()
    ran = slt_cache("train-visual", "--run", run, "--restart")
    assert ran.code == 2
    assert "1 of 21 clips have no video, such as 'train-00004'" in ran.err


def test_more_sentences_than_beams_are_refused(finished: Path) -> None:
    video = next((finished / "corpus" / "videos").glob("test-*.mp4"))
    ran = slt_cache("translate", "--run", finished, video, "--nbest", "9")
    assert ran.code == 2
    assert "generation.num_beams" in ran.err


def test_eval_says_before_it_translates_that_nothing_can_be_written(run: Path) -> None:
    shutil.rmtree(run / "eval", ignore_errors=True)
    (run / "eval").touch()
    ran = slt_cache("eval", "--run", run)
    assert ran.code == 2
    assert f"{run / 'eval'}: cannot be written" in ran.err
    assert "translating" not in ran.err


def test_a_mistyped_cache_is_an_error_and_not_an_evaluation_from_video(finished: Path) -> None:
    ran = slt_cache("eval", "--run", finished, "--features", "tpyo.h5")
    assert ran.code == 2
    assert "tpyo.h5" in ran.err


def test_the_recorded_dev_score_is_that_of_eval(finished: Path) -> None:
    record = json.loads((finished / "llm" / "best" / "record.json").read_text(encoding="utf-8"))
    assert record["dev_beams"] == 3  # the beams of eval, and not the greedy search of the epochs before
    scored = json.loads(succeed("eval", "--run", finished, "--split", "dev", "--json").out)
    assert scored["scores"] == record["dev"]


def test_small_mt5_goes_through_all_commands(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "mt5"
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns("llm", "eval"))
    named = ("--set", "llm.name=small-mt5")
    succeed("train-llm", "--features", "feats.h5", "--run", run, *named)
    assert load_llm(run / "llm" / "best").model.seq2seq.config.model_type == "mt5"
    assert "BLEU-4" in succeed("eval", "--run", run, *named).out
    refused = slt_cache("llm", "pretrain", "--run", run, "--set", "llm.name=small-mbart")
    assert refused.code == 2
    assert "name: made with small-mt5" in refused.err


def test_another_seed_takes_over_an_llm_that_was_pretrained_with_a_seed_of_its_own(
    finished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "seeds"
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns("llm", "visual", "feats.h5", "eval"))
    own = ("--set", "llm_pretraining.seed=7")
    succeed("llm", "pretrain", "--run", run, *own)
    weights = (run / "llm" / "pretrained" / "best" / "model.safetensors").read_bytes()
    assert "trained already" in succeed("llm", "pretrain", "--run", run, "--set", "seed=5", *own).err
    assert slt_cache("llm", "pretrain", "--run", run, "--set", "llm_pretraining.seed=null").code == 2
    assert (finished / "llm" / "pretrained" / "best" / "model.safetensors").read_bytes() != weights


def test_only_the_small_llms_are_pretrained(tmp_path: Path) -> None:
    ran = slt_cache("llm", "pretrain", "--run", tmp_path, "--config", "avatar", "--set", "llm.name=facebook/bart-base")
    assert ran.code == 2
    assert "llm.name facebook/bart-base: only small-mbart and small-mt5" in ran.err
