"""Light-T as the LLM of stage 2: trained on the features of any cache, at its own learning rates."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet18

from slt_cache.checkpoints.record import read_record
from slt_cache.config import load_config
from slt_cache.pipeline.translate import Translator
from slt_cache.reading import read_json
from tests.helpers.commands import TINY, slt_cache
from tests.helpers.imported_run import imported_cache, of_imported
from tests.helpers.tiny_run import succeed

DIM = 6


def lrs(source: str, *overrides: str) -> tuple[float, float]:
    training = load_config(source, overrides).llm_training
    return training.lr, training.adapter_lr


def test_it_learns_from_an_imported_cache_and_is_scored_like_any_llm(tmp_path: Path) -> None:
    cache, run = imported_cache(tmp_path / "feats.h5", DIM), tmp_path / "run"
    brief = (
        "llm_training.epochs=2",
        "generation.num_beams=1",
        "generation.max_new_tokens=6",
        "compute.keep_state=false",
    )
    words = of_imported(run, cache, "light_t.size=tiny", "light_t.dropout=0.0", *brief)
    ran = slt_cache(*words, "--llm", "light-t", "--json")
    assert ran.code == 0 and json.loads(ran.out)["epochs"] == 2, ran.err
    record = read_record(run / "llm" / "best")
    assert record is not None and record.settings["light_t"] == {"size": "tiny", "dropout": 0.0}
    assert record.settings["llm"]["name"] == "light-t" and "pretraining" not in record.settings
    assert read_json(run / "llm" / "best" / "config.json")["model_type"] == "m2m_100"
    losses = [json.loads(line).get("loss") for line in (run / "llm" / "metrics.jsonl").read_text().splitlines()]
    losses = [loss for loss in losses if loss is not None]
    assert losses[-1] < losses[0]
    again = slt_cache("train-llm", "--run", run, "--features", cache, "--set", "features.level=imported")
    assert again.code == 0 and "trained already" in again.err
    scored = slt_cache("eval", "--run", run, "--features", cache, "--split", "dev", "--json")
    assert scored.code == 0 and json.loads(scored.out)["clips"] == 4, scored.err


def test_it_learns_from_a_cache_with_the_terms_of_stage_1_unless_others_are_set(tmp_path: Path) -> None:
    cache, run = imported_cache(tmp_path / "feats.h5", DIM), tmp_path / "run"
    brief = ("light_t.size=tiny", "llm_training.epochs=1", "generation.num_beams=1", "generation.max_new_tokens=4")
    words = (*of_imported(run, cache, *brief), "--llm", "light-t")
    ran = slt_cache(*words, "--set", "visual_training.objective=contrastive,denoising")
    assert ran.code == 0, ran.err
    assert "(contrastive " in ran.err and "denoising " in ran.err
    record = read_record(run / "llm" / "best")
    assert record is not None
    assert record.settings["objective"] == {"terms": ["cross-entropy", "contrastive", "denoising"], "weights": {}}
    (line,) = (json.loads(line) for line in (run / "llm" / "metrics.jsonl").read_text().splitlines())
    assert line["loss/contrastive"] > 0 and line["loss/denoising"] > 0
    other = slt_cache(*words, "--set", "llm_training.objective=cross-entropy", "--restart")
    assert other.code == 0 and "contrastive" not in other.err, other.err
    record = read_record(run / "llm" / "best")
    assert record is not None and "objective" not in record.settings


def test_its_learning_rates_are_the_baselines_unless_stated_for_it(tmp_path: Path) -> None:
    assert lrs("phoenix14t", "llm.name=light-t") == (5e-4, 5e-4)
    assert lrs("avatar", "llm.name=light-t", "control.lr=1e-3") == (1e-3, 1e-3)
    assert lrs("avatar", "llm.name=light-t", "llm_training.lr=2e-3") == (2e-3, 5e-4)
    assert lrs("avatar", "llm.name=light-t", "training.lr=2e-3") == (2e-3, 5e-4)
    assert lrs("phoenix14t") == (1e-5, 1e-3)
    own = tmp_path / "own.yaml"
    own.write_text("llm: {name: light-t}\nllm_training: {lr: 7.0e-4}\n", encoding="utf-8")
    assert lrs(str(own)) == lrs(str(own), "llm.name=light-t") == (7e-4, 5e-4)
    assert lrs(str(own), "llm.name=small-mbart") == (7e-4, 1e-3)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--llm", "light-t", "--set", "llm.name=small-mbart"), "--llm light-t and --set llm.name=small-mbart"),
        (("--llm", "light-t", "--set", "llm.lora.r=2"), "LoRA would freeze random weights"),
        (("--llm", "light-t", "--set", "llm.prompt=a {video}"), "takes no prompt"),
        (("--llm", "light-t", "--set", "visual_training.objective=signcl"), "visual_training.objective signcl: shapes"),
        (
            ("--set", "llm_training.objective=[signcl,contrastive]"),
            "llm_training.objective signcl: shapes the backbone",
        ),
        (("--llm", "light-t", "--set", "llm_training.objective=clip"), "llm_training.objective clip: unknown. Choose"),
        (("--llm", "nowhere"), "nor one of those made here (small-mbart, small-mt5, light-t)"),
    ],
)
def test_what_does_not_go_together_is_said_in_a_line(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    cache = imported_cache(tmp_path / "feats.h5", DIM)
    ran = slt_cache(*of_imported(tmp_path / "run", cache), *words)
    assert ran.code == 2 and says in ran.err and len(ran.err.splitlines()) <= 2, ran.err
    assert not (tmp_path / "run" / "llm").exists()


def test_light_t_needs_no_pretraining_and_none_is_made_for_it(tmp_path: Path) -> None:
    ran = slt_cache("llm", "pretrain", "--run", tmp_path / "run", "--config", "tsv", "--set", "llm.name=light-t")
    assert ran.code == 2 and "only small-mbart and small-mt5 are pre-trained here" in ran.err, ran.err


@pytest.mark.slow
def test_on_a_frozen_encoder_it_translates_videos_without_any_stage_1_also_as_a_model_folder(tmp_path: Path) -> None:
    torch.manual_seed(1)
    torch.save(resnet18().state_dict(), weights := tmp_path / "resnet18.pth")
    run, out = tmp_path / "run", tmp_path / "model"
    chosen = (f"encoder.weights={weights}", "light_t.size=tiny", "llm_training.epochs=1")
    words = [part for word in (*chosen, "compute.keep_state=false") for part in ("--set", word)]
    succeed("extract-features", "--encoder", "resnet18", "--run", run, "--config", TINY, *words)
    succeed("train-llm", "--llm", "light-t", "--features", "feats.h5", "--run", run)
    video = sorted((run / "corpus" / "videos").glob("*.mp4"))[0]
    of_run = Translator.from_run(run, "cpu")(video, nbest=2)
    assert len(set(of_run.scores)) == 2
    succeed("export-model", "--run", run, "--out", out)
    shutil.copyfile(video, tmp_path / "clip.mp4")
    shutil.rmtree(run)
    weights.unlink()
    found = Translator.from_pretrained(out, "cpu")(tmp_path / "clip.mp4", nbest=2)
    assert (found.texts, found.scores) == (of_run.texts, of_run.scores)


def test_it_learns_from_a_share_of_the_clips_which_the_run_remembers(tmp_path: Path) -> None:
    cache, run = imported_cache(tmp_path / "feats.h5", DIM), tmp_path / "run"
    brief = ("light_t.size=tiny", "llm_training.epochs=1", "generation.num_beams=1", "generation.max_new_tokens=4")
    words = (*of_imported(run, cache, *brief), "--llm", "light-t")
    assert slt_cache(*words, "--set", "corpus.fraction=0.5").code == 0
    record = read_record(run / "llm" / "best")
    assert record is not None and (record.settings["clips"], record.settings["corpus.fraction"]) == (2, 0.5)
    plain = slt_cache("train-llm", "--run", run, "--features", cache, "--set", "features.level=imported")
    assert plain.code == 0 and "trained already" in plain.err, plain.err
    whole = slt_cache(*words, "--set", "corpus.fraction=1")
    assert whole.code == 2 and "corpus.fraction: made with 0.5, asked for 1.0" in whole.err, whole.err
    assert "other clips of train in the cache" in whole.err and len(whole.err.splitlines()) <= 2
