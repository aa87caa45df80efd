"""`eval`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from slt_cache.distributed.processes import is_main_process
from slt_cache.runs.variants import MODELS

from .help import one_of
from .options import RUN_OPTIONS, Options, require_used, takes
from .output import (
    BootstrapOption,
    ContentWordsOption,
    MetricOption,
    grounding_lines,
    score_lines,
    scores_to_json,
    word_lines,
)


@takes("eval", *RUN_OPTIONS, "device", "json")
def evaluate(
    options: Options,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="train, dev or test. [default: test; with --manifest, all clips]",
            autocompletion=one_of("train", "dev", "test"),
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            metavar="FILE",
            help="Another list of clips to translate from video and score; results go to eval/lists. "
            "[default: the run's own clips]",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="llm (both stages), visual (stage 1), control (the Light-T baseline), llm-from-scratch, "
            "llm-unfreeze-temporal, llm-unfreeze-all, joint or joint-temporal.",
            autocompletion=one_of(*MODELS),
        ),
    ] = "llm",
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            metavar="FILE ...",
            help="Feature cache; of a model of several streams, that of each, FILE or NAME=FILE. [default: feats.h5 of "
            "the run folder; of several streams, those that it was trained from]",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            metavar="STREAM",
            help="Leave out a stream of features, to see what it is worth; repeatable. Scores and sentences are saved "
            "next to those of all streams. [default: none is left out]",
        ),
    ] = None,
    grounding: Annotated[
        bool,
        typer.Option(
            "--grounding",
            help="Measure whether the model looks at the video: translate each clip with masked, shuffled, swapped and "
            "blank features too, and compute how much of each sentence the video decided.",
        ),
    ] = False,
    metric: MetricOption = None,
    content_words: ContentWordsOption = False,
    bootstrap: BootstrapOption = None,
) -> None:
    """Translate a split with beam search and score it.

    Example: slt-cache eval --split test
    """
    from slt_cache.pipeline.evaluate import evaluate as evaluate_run
    from slt_cache.runs.eval_files import saved_scores
    from slt_cache.runs.scoring import parts_to_json, rounded, with_metrics, words_of_wer
    from slt_cache.runs.streams import caches_named

    opened = options.open_run()
    require_used(opened, "eval")
    opened = with_metrics(opened, metric or (), content_words)
    cache = None if not features else caches_named(opened, features)
    done = evaluate_run(opened, split, cache, model, bootstrap, manifest, without or (), grounding)
    if is_main_process():
        whole = saved_scores(opened, model, done.split, done.references) if without else None
        words = words_of_wer(opened.config, done.references)
        compared = [] if whole is None else [f"with all streams: {_line(whole)}"]
        options.print(
            {
                "split": done.split,
                "clips": len(done.references),
                **scores_to_json(done.scores),
                **parts_to_json(done.parts),
                **({"content_words": words} if words else {}),
                "hypotheses": str(done.table),
                **({} if whole is None else {"with_all_streams": whole}),
                **({} if done.grounding is None else {"grounding": done.grounding.figures}),
            },
            f"{manifest or done.split}, {len(done.references)} clips",
            *score_lines(done.scores),
            *word_lines(words),
            *(
                line
                for what, found in done.parts.items()
                for name, part in found.items()
                for line in (f"{what.replace('_', ' ')} {name}, {part.clips} clips", *score_lines(part.scores))
            ),
            *compared,
            f"hypotheses: {done.table}",
            *([] if done.grounding is None else grounding_lines(rounded(done.scores), done.grounding.figures)),
        )


def _line(scores: Mapping[str, float]) -> str:
    from slt_cache.metrics.registry import METRICS

    return ", ".join(f"{METRICS[key].label} {value:.2f}" for key, value in scores.items())
