"""`compare`."""

from pathlib import Path
from typing import Annotated

import typer

from slt_cache.runs.variants import MODELS

from .help import one_of
from .options import Options, takes


@takes("compare", "json")
def compare(
    options: Options,
    runs: Annotated[
        list[Path],
        typer.Argument(help="Run folders, or files of scores in their eval/. The first is the baseline."),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="Model of each run, as for eval --model; repeatable. [default: llm, or the first that was scored; of "
            "a single run all]",
            autocompletion=one_of(*MODELS),
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="train, dev or test.", autocompletion=one_of("train", "dev", "test"))
    ] = "test",
    metric: Annotated[
        str, typer.Option("--metric", metavar="KEY", help="Metric that decides, such as bleu4, chrf or rouge_l.")
    ] = "bleu4",
    resamples: Annotated[
        int, typer.Option("--resamples", help="Resamples of each test, 40 to 10000; seed 12345.")
    ] = 1000,
    sentences: Annotated[
        int, typer.Option("--sentences", min=0, help="Sentences to show that gained most, and that lost most.")
    ] = 5,
    latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table for a paper instead.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table instead.")] = False,
) -> None:
    """Compare runs on the same clips: seeds of one configuration together, each other configuration tested against the
    first by paired bootstrap and approximate randomization.

    Scores with different signatures, clips or references are refused.

    Example: slt-cache compare runs/avatar runs/other --markdown
    """
    from slt_cache.comparison.compare import compare as compare_runs
    from slt_cache.comparison.json_object import to_json
    from slt_cache.comparison.tables import latex as in_latex
    from slt_cache.comparison.tables import markdown as in_markdown
    from slt_cache.comparison.terminal import lines

    found = compare_runs(runs, model or (), split, metric, resamples, sentences)
    forms = {**({"latex": in_latex} if latex else {}), **({"markdown": in_markdown} if markdown else {})}
    shown = {name: form(found) for name, form in forms.items()}
    options.print({**to_json(found), **shown}, *(shown.values() or lines(found)))
