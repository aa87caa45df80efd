"""What is measured once a sweep is done: the winner on test, and how much longer a step takes from pixels."""

from dataclasses import replace

from slt_cache.bench.llm import bench_llm
from slt_cache.errors import InputError, SltCacheError
from slt_cache.files import write_json
from slt_cache.hashes import read_signed
from slt_cache.pipeline.evaluate import evaluate
from slt_cache.progress import log
from slt_cache.reading import read_object
from slt_cache.runs.eval_files import file_stem, is_of_these_weights
from slt_cache.runs.run import Run, open_run
from slt_cache.runs.variants import LLM
from slt_cache.sweep.request import Sweep
from slt_cache.sweep.results import Results, TestScores

RATIO_FILE = "pixels.json"
BATCHES = 2
"""Batches over which steps from pixels are timed."""
TEST = "test"


def scored_on_test(results: Results) -> Results:
    """Returns the results with the test scores of the winner, which is scored unless it was before. Raises InputError
    if no trial is complete."""
    sweep, winner = results.sweep, results.winner
    if winner is None:
        raise InputError(f"{sweep.folder}: no trial is complete, so there is no winner to score on test.")
    run = open_run(sweep.trial_folder(str(winner)))
    run = replace(run, config=run.config.model_copy(update={"compute": sweep.run.config.compute}))
    model = run.trained_by("train-llm").name
    others = tuple(one.number for one in results.best if one.number != winner and _has_scores(sweep, one.number))
    if others:
        log(f"test was scored for trial {', '.join(map(str, others))} before; a choice by test is none by dev")
    if not is_of_these_weights(run, model, TEST):
        evaluate(run, TEST, None, model)
    saved = read_signed(run.evaluation / f"{file_stem(model, TEST)}.json")
    return replace(results, test=TestScores(winner, saved["scores"], saved["signatures"]["bleu4"], others))


def _has_scores(sweep: Sweep, number: int) -> bool:
    run = Run(sweep.trial_folder(str(number)), sweep.run.config)
    return (run.evaluation / f"{file_stem(run.trained_by('train-llm').name, TEST)}.json").is_file()


def pixel_ratio(sweep: Sweep, number: int) -> float | None:
    """Returns how many times longer a step takes if the encoder runs again, measured once by `bench llm` over the model
    of a trial; None without videos."""
    path = sweep.folder / RATIO_FILE
    if not path.is_file():
        run = Run(sweep.trial_folder(str(number)), sweep.run.config)
        try:
            ratio = _measured(run)
        except SltCacheError as error:  # such as a corpus that is no longer there
            log(f"the time from pixels is not estimated: {error}")
            return None
        write_json(path, {"ratio": ratio, "trial": number})
    found: float | None = read_object(path)["ratio"]
    return found


def _measured(run: Run) -> float | None:
    if run.trained_by("train-llm").name != LLM.name:
        return None  # bench llm times the pre-trained one
    ratio: float | None = bench_llm(run, None, batches=BATCHES, briefly=True).get("ratio")
    return ratio
