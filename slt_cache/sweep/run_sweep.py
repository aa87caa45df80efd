"""Runs a sweep: trials, repetitions of the best, the winner on test, the page. A killed one resumes."""

from dataclasses import replace
from typing import Any

from slt_cache.sweep.page import write_page
from slt_cache.sweep.request import Sweep
from slt_cache.sweep.results import lines_of, results_of, to_json
from slt_cache.sweep.trials import repeat, repetitions, run_trials
from slt_cache.sweep.winner import pixel_ratio, scored_on_test

PAGE = "sweep.html"


def run_sweep(sweep: Sweep, trials: int, seeds: int = 1, score_test: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Trains until there are this many trials, repeats the best ones until they have this many seeds, and writes the
    page. With `score_test` the winner is scored on test. Returns the results as plain values and as lines."""
    sweep.prepare()
    study = run_trials(sweep, trials)
    for repetition in repetitions(sweep, study, seeds):
        repeat(sweep, repetition)
    results = results_of(sweep, study, seeds, None)
    if results.best:
        results = replace(results, ratio=pixel_ratio(sweep, results.best[0].number))
    if score_test:
        results = scored_on_test(results)
    page = sweep.folder / PAGE
    write_page(results, page)
    return to_json(results, page), [*lines_of(results), f"report: {page}"]
