"""Runs a sweep: trials, repetitions of the best, the winner on test, the page. A killed one resumes."""

from dataclasses import replace
from typing import Any

from slt_cache.locks import exclusive
from slt_cache.progress import log
from slt_cache.sweep.page import write_page
from slt_cache.sweep.request import Sweep
from slt_cache.sweep.results import RUNNING, Results, lines_of, results_of, to_json
from slt_cache.sweep.trials import repeat, repetitions, run_trials
from slt_cache.sweep.winner import pixel_ratio, scored_on_test

PAGE = "sweep.html"


def run_sweep(sweep: Sweep, trials: int, seeds: int = 1, score_test: bool = False) -> tuple[dict[str, Any], list[str]]:
    """Trains until there are this many trials, repeats the best ones until they have this many seeds, and writes the
    page. With `score_test` the winner is scored on test. Of several processes, the last one to finish a trial does what
    comes after the trials. Returns the results as plain values and as lines."""
    sweep.prepare()
    study = run_trials(sweep, trials)
    results = results_of(sweep, study, seeds, None)
    if running := results.counts[RUNNING]:
        log(f"trials that other processes still train: {running}; the last process repeats and scores the best")
    else:
        elsewhere = [one for one in repetitions(sweep, study, seeds) if not repeat(sweep, one)]
        if elsewhere and score_test:
            log("test is not scored: other processes still repeat the best; the same command scores it later")
        with exclusive(sweep.folder / "results.lock", str(sweep.folder), waits=True):
            results = _measured(results_of(sweep, study, seeds, None), score_test and not elsewhere)
    page = sweep.folder / PAGE
    write_page(results, page)
    return to_json(results, page), [*lines_of(results), f"report: {page}"]


def _measured(results: Results, score_test: bool) -> Results:
    """Returns the results with what is measured once all trials are done."""
    if results.best:
        results = replace(results, ratio=pixel_ratio(results.sweep, results.best[0].number))
    return scored_on_test(results) if score_test else results
