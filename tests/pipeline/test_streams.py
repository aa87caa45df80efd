"""Several streams of features as a whole: trained from their caches by name, evaluated with and without each."""

import json
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from slt_cache import SignTranslator
from slt_cache.checkpoints.record import read_record
from slt_cache.checkpoints.translator import load_llm
from slt_cache.config import load_config
from slt_cache.encoders.packing import packed
from slt_cache.errors import InputError
from slt_cache.features.cache import FeatureCache
from slt_cache.features.parts import ClipFeatures, add_splits, content_of
from slt_cache.features.spec import IMPORTED, FeatureSpec, streams_of
from slt_cache.pipeline.init_llm import initial_translator
from slt_cache.pipeline.streams import leave_out
from slt_cache.training.logs import read_metrics
from tests.helpers.caches import facts_of
from tests.helpers.commands import Ran, complaints, slt_cache
from tests.helpers.imported_run import SENTENCES, imported_cache, of_imported
from tests.helpers.team import start_team
from tests.models.test_saved import DIM, save

OWN = ("llm.init_without=[adapter]", "llm_training.epochs=1", "compute.keep_state=false", "generation.num_beams=1")


def motion_cache(
    path: Path,
    without: tuple[int, ...] = (),
    sentences: tuple[str, ...] = SENTENCES,
    seed: int = 4,
    stream: str | None = None,
) -> Path:
    """Writes a cache of the clips of `imported_cache`, of other lengths and channels, without some of them."""
    draw = np.random.default_rng(seed)
    for split in ("train", "dev"):
        spec = FeatureSpec(encoder_sha256=None, level=IMPORTED, dim=3, dtype="float32", source="motion", stream=stream)
        rows = [
            ClipFeatures(f"{split} {n}", text, 4 * (n + 2), 25.0, draw.normal(size=(2 * n + 1, 3)).astype("float32"))
            for n, text in enumerate(sentences)
            if n not in without
        ]
        add_splits(path, [content_of(facts_of(split, spec), rows[::-1])])  # in another order
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a translator to begin with, and the caches of two streams."""
    folder = tmp_path_factory.mktemp("streams")
    save("mbart", folder / "other")
    imported_cache(folder / "spatial.h5", DIM)
    motion_cache(folder / "motion.h5")
    return folder


def train(run: Path, made: Path, *settings: str, features: tuple[str, ...] = ()) -> Ran:
    """Trains one epoch of stage 2 on the streams, by their paths one after another unless given otherwise."""
    return slt_cache(*words_of(run, made, *settings, features=features))


def words_of(run: Path, made: Path, *settings: str, features: tuple[str, ...] = ()) -> tuple[str, ...]:
    words = of_imported(run, made, f"llm.init_from={made / 'other' / 'llm' / 'best'}", *OWN, *settings)
    given = features or ("--features", str(made / "spatial.h5"), str(made / "motion.h5"))
    return ("train-llm", *given, *words[3:])


@pytest.fixture(scope="module")
def trained(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run") / "run"
    ran = train(run, made, "llm_training.stream_fusion=time", "llm_training.stream_dropout=0.3")
    assert ran.code == 0, ran.err
    return run


def test_the_record_and_the_saved_folder_know_each_stream(trained: Path, made: Path) -> None:
    record = read_record(trained / "llm" / "best")
    assert record is not None
    assert [*streams_of(record.settings)] == ["spatial", "motion"]
    motion = record.settings["streams"]["motion"]
    assert motion["clips_sha256"] == FeatureCache(made / "motion.h5", "train").clips_sha256
    assert motion["features"]["source"] == "motion"
    about = json.loads((trained / "llm" / "best" / "sign_translator.json").read_text())
    assert about["stream_fusion"] == "time" and [one["dim"] for one in about["streams"].values()] == [DIM, 3]
    assert str(made) not in json.dumps(about)
    assert slt_cache("verify", trained).code == 0


def test_a_saved_translator_takes_the_streams_by_name_or_in_order(trained: Path, made: Path) -> None:
    model, [clip] = SignTranslator.from_pretrained(trained / "llm" / "best"), ["dev 2"]
    spatial, motion = (FeatureCache(made / f"{name}.h5", "dev")[clip] for name in ("spatial", "motion"))
    by_name = model.translate([{"motion": motion, "spatial": spatial}])
    assert (
        by_name
        == model.translate([(spatial, motion)])
        == load_llm(trained / "llm" / "best").model.translate([(spatial, motion)])
    )
    with pytest.raises(InputError, match=r"give the features of each stream: spatial, motion; given: spatial\."):
        model.translate([{"spatial": spatial}])
    with pytest.raises(InputError, match=r"its stream motion has shape \(4, \d+\), expected \[N, 3\]"):
        model.translate([(spatial, spatial)])


def test_eval_finds_the_caches_of_the_training_and_keeps_scores_without_a_stream_apart(trained: Path) -> None:
    ran = slt_cache("eval", "--run", trained, "--split", "dev", "--json")
    assert ran.code == 0, ran.err
    whole = (trained / "eval" / "dev.json").read_text()
    ran = slt_cache("eval", "--run", trained, "--split", "dev", "--without", "motion", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["hypotheses"].endswith("dev.without-motion.tsv")
    assert told["with_all_streams"] == json.loads(whole)["scores"]
    assert json.loads((trained / "eval" / "dev.without-motion.json").read_text())["settings"] == {"without": "motion"}
    assert (trained / "eval" / "dev.json").read_text() == whole
    tables = [(trained / "eval" / f"dev{name}.tsv").read_text() for name in ("", ".without-motion")]
    assert tables[0] != tables[1]
    assert slt_cache("verify", trained).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--without", "pose"), "--without pose: no such stream of this model. Its streams are spatial, motion."),
        (("--without", "motion", "--without", "spatial"), "these are all streams of this model. Keep one."),
        (("--features", "pose=feats.h5"), "no such stream of this model. Use NAME=PATH with spatial, motion."),
    ],
)
def test_eval_names_the_streams_there_are(trained: Path, words: tuple[str, ...], said: str) -> None:
    ran = slt_cache("eval", "--run", trained, "--split", "dev", *words)
    assert ran.code == 2 and said in ran.err


FUSED = (
    ("llm_training.stream_fusion=time", "llm_training.stream_dropout=0.3"),
    ("llm_training.stream_fusion=channels", "llm_training.temporal.kernel=3"),
)


def with_caches(run: Path, made: Path) -> tuple[str, ...]:
    """Copies the caches of both streams into a run; returns the words that name them."""
    run.mkdir(parents=True)
    return ("--features", *(str(shutil.copy(made / name, run / name)) for name in ("spatial.h5", "motion.h5")))


@pytest.mark.slow
@pytest.mark.parametrize("settings", FUSED)
def test_a_training_on_streams_killed_anywhere_resumes_to_the_same_weights(
    made: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    whole, draw = tmp_path / "whole", random.Random(10)
    ran = train(whole, made, "llm_training.epochs=3", *settings, features=with_caches(whole, made))
    assert ran.code == 0, ran.err
    of_all = {"stage": "llm", "workers": 0, "streams": ["spatial.h5", "motion.h5"]}
    points = [{**of_all, "signal": signal.SIGKILL, "event": draw.random()} for _ in range(4)]
    points.append({**of_all, "signal": signal.SIGINT, "event": 0.45})  # within an epoch, which it names
    assert complaints(whole, tmp_path / "killed", points) == [None] * len(points)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [FUSED[1], FUSED[0][:1]])  # each process draws its own dropout
def test_two_processes_train_on_streams_as_one(made: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    settings = ("llm_training.epochs=3", "llm_training.dropout=0.0", "llm_training.batch_size=4", *settings)
    found = []
    for name in ("one", "two"):
        run = tmp_path / name
        features = with_caches(run, made)
        words = words_of(run, made, *settings, features=features)
        if name == "one":
            assert slt_cache(*words).code == 0
        else:
            assert start_team(tmp_path / "logs", list(map(str, words)), 2) == [0, 0]
        found.append((losses(run / "llm"), load_file(run / "llm" / "best" / "adapter.safetensors")))
    (losses_of_one, one), (losses_of_two, two) = found
    assert losses_of_two == pytest.approx(losses_of_one, abs=1e-4)
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-3


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if line["kind"] == "epoch"]


@pytest.mark.parametrize("settings", FUSED)
def test_a_stream_is_left_out_of_every_kind_of_fusion_as_if_there_were_none(
    made: Path, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    run, names = tmp_path / "run", ("spatial", "motion")
    ran = train(run, made, *settings)
    assert ran.code == 0, ran.err
    llm = load_llm(run / "llm" / "best")
    caches = [FeatureCache(made / f"{name}.h5", "dev") for name in names]
    features, lengths = packed([tuple(torch.tensor(np.array(cache["dev 2"])).float() for cache in caches)])
    for name, own, others in ((names[0], slice(DIM), slice(DIM, None)), (names[1], slice(DIM, None), slice(DIM))):
        leave_out(llm.model, llm.specs, [name])
        before = llm.model.embed(features, lengths)[0]
        for channels, is_left_out in ((own, True), (others, False)):
            changed = features.clone()
            changed[:, channels] += 7.0
            assert torch.equal(before, llm.model.embed(changed, lengths)[0]) is is_left_out
        ran = slt_cache("eval", "--run", run, "--split", "dev", "--without", name, "--json")
        assert ran.code == 0 and json.loads(ran.out)["hypotheses"].endswith(f"dev.without-{name}.tsv")
    for more in ((), ("--without", "motion")):
        ran = slt_cache("eval", "--run", run, "--split", "dev", *more, "--without", "pose")
        assert ran.code == 2 and "--without pose: no such stream of this model. Its streams are spatial, mo" in ran.err


def test_steps_on_all_streams_are_timed_and_their_caches_are_not_taken_for_one(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slt_cache.bench.llm.ROUND_SECONDS", 1e-9)
    ran = slt_cache("bench", "llm", "--run", trained, "--json")
    assert ran.code == 0, ran.err
    measured = json.loads(ran.out)
    assert measured["batches_timed"] == measured["batches_an_epoch"] > 0 and measured["seconds_from_cache"] > 0
    ran = slt_cache("bench", "cache", "--run", trained)
    assert ran.code == 2 and "reads the caches of 2 streams (spatial, motion)" in ran.err, ran.err


def test_a_stream_that_has_changed_since_the_training_is_refused(trained: Path, made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "spatial.h5", tmp_path / "motion.h5")
    ran = slt_cache("eval", "--run", trained, "--split", "dev", "--features", tmp_path / "motion.h5")
    assert ran.code == 2 and "motion.h5: not the features that" in ran.err and "source" in ran.err
    (tmp_path / "other").mkdir()
    other = motion_cache(tmp_path / "other" / "motion.h5", seed=5)
    again = train(trained, made, features=("--features", str(made / "spatial.h5"), str(other)))
    assert again.code == 2 and "streams.motion.clips_sha256" in again.err


def test_streams_whose_import_did_not_record_their_names_are_trained_already(
    trained: Path, made: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    named = motion_cache(tmp_path / "motion.h5", stream="_overlap-8")
    ran = train(tmp_path / "run", made, features=("--features", str(made / "spatial.h5"), str(named)))
    assert ran.code == 0 and "trained already" in ran.err


def test_clips_missing_in_a_stream_are_named_and_left_out(made: Path, tmp_path: Path) -> None:
    few = motion_cache(tmp_path / "few.h5", without=(1, 2))
    words = ("--features", f"spatial={made / 'spatial.h5'}", "--features", f"motion={few}")
    ran = train(tmp_path / "run", made, features=words)
    assert ran.code == 0, ran.err
    assert "stream motion: " in ran.err
    assert "few.h5 (train): 2 clips are missing that another stream has ('train 1', 'train 2')" in ran.err
    record = read_record(tmp_path / "run" / "llm" / "best")
    assert record is not None and record.settings["clips"] == 2


def test_streams_of_other_sentences_are_refused(made: Path, tmp_path: Path) -> None:
    motion_cache(tmp_path / "motion.h5", sentences=("größer süden", "ein SATZ", "heute regen", "morgen schnee"))
    words = ("--features", str(made / "spatial.h5"), str(tmp_path / "motion.h5"))
    ran = train(tmp_path / "run", made, features=words)
    assert ran.code == 2 and "clip 'train 1' has another sentence than in" in ran.err


def test_two_streams_of_one_name_are_refused_with_what_to_write(made: Path, tmp_path: Path) -> None:
    ran = train(tmp_path / "run", made, features=("--features", str(made / "motion.h5"), str(made / "motion.h5")))
    assert ran.code == 2
    assert "two streams are called motion" in ran.err and f"--features NAME={made / 'motion.h5'}" in ran.err


@pytest.mark.parametrize(
    ("dims", "streams", "fusion", "said"),
    [
        ((DIM, 3), ("spatial", "motion"), "time", ""),
        ((DIM,), (), "time", f"features of size {DIM} and 3 there, {DIM} here"),
        ((DIM, 3), ("spatial", "pose"), "time", "streams spatial and motion there, spatial and pose here"),
        ((DIM, 3), ("spatial", "motion"), "channels", "stream_fusion time there, channels here"),
    ],
)
def test_a_translator_of_streams_begins_a_training_on_the_same_streams_only(
    trained: Path, dims: tuple[int, ...], streams: tuple[str, ...], fusion: str, said: str
) -> None:
    best = trained / "llm" / "best"
    settings = (f"llm.init_from={best}", "llm.language=de_DE", f"llm_training.stream_fusion={fusion}")
    config = load_config("avatar", settings)
    if not said:
        assert "adapter" in initial_translator(config, best, dims, streams).summary
        return
    with pytest.raises(InputError, match=f"adapter: {said}"):
        initial_translator(config, best, dims, streams)


def test_one_stream_by_its_name_is_trained_as_ever(made: Path, tmp_path: Path) -> None:
    for name, word in (("plain", str(made / "spatial.h5")), ("named", f"rgb={made / 'spatial.h5'}")):
        ran = train(tmp_path / name, made, features=("--features", word))
        assert ran.code == 0, ran.err
    plain, named = (read_record(tmp_path / name / "llm" / "best") for name in ("plain", "named"))
    assert plain is not None and named is not None
    assert plain.settings == named.settings and "streams" not in plain.settings
    plain_weights, named_weights = (
        tmp_path / name / "llm" / "best" / "adapter.safetensors" for name in ("plain", "named")
    )
    assert plain_weights.read_bytes() == named_weights.read_bytes()
