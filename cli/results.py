"""`eval`, `score`, `translate` and `report`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import (
    ConfigOption,
    DeviceOption,
    FeaturesOption,
    JsonOption,
    RunOption,
    SetOption,
    VerboseOption,
    guarded,
    open_run,
    print_json,
)


def register(app: typer.Typer) -> None:
    app.command("eval")(guarded(evaluate))
    app.command("score")(guarded(score))
    app.command("translate")(guarded(translate))
    app.command("report")(guarded(report))


def evaluate(
    split: Annotated[str, typer.Option("--split", help="train, dev or test.")] = "test",
    features: FeaturesOption = None,
    model: Annotated[
        str, typer.Option("--model", help="llm (both stages), visual (stage 1), llm-from-scratch or control.")
    ] = "llm",
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Translate a split with beam search and score it.

    Example: slt-cache eval --split test
    """
    from slt_cache.pipeline.evaluate import evaluate as evaluate_run

    opened = open_run(run, config, settings, device)
    done = evaluate_run(opened, split, None if features is None else opened.find_features(features), model)
    if as_json:
        print_json(
            {
                "split": split,
                "clips": len(done.references),
                **_figures(done.scores),
                "hypotheses": str(done.table),
            }
        )
        return
    _print_scores(done.scores, f"{split}, {len(done.references)} clips")
    typer.echo(f"hypotheses: {done.table}")


def score(
    hypotheses: Annotated[Path, typer.Argument(help="One sentence a line, or id|sentence.")],
    references: Annotated[Path, typer.Argument(help="One sentence a line, or id|sentence.")],
    preset: Annotated[str, typer.Option("--preset", help="plain, phoenix14t, csl-daily or how2sign.")] = "plain",
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Score text files alone.

    Example: slt-cache score hypotheses.txt references.txt --preset phoenix14t
    """
    from slt_cache.pipeline.score_files import score_files

    count, scores = score_files(hypotheses, references, preset)
    if as_json:
        print_json({"clips": count, **_figures(scores)})
        return
    _print_scores(scores, f"{count} sentences, preset {preset}")


def translate(
    videos: Annotated[list[Path], typer.Argument(help="Video files or folders of frames.")],
    nbest: Annotated[int, typer.Option("--nbest", min=1, help="Sentences to show for each video.")] = 1,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Translate videos.

    Example: slt-cache translate clip.mp4 --nbest 3
    """
    from slt_cache.errors import InputError
    from slt_cache.pipeline.translate import Translation, Translator

    translator = Translator(open_run(run, config, settings, device))
    done: list[Translation] = []
    failed = False
    for video in videos:
        try:
            one = translator(video, nbest)
        except InputError as error:
            typer.echo(f"error: {error}", err=True)
            failed = True
            continue
        done.append(one)
        if not as_json:
            typer.echo(f"{video}\t{one.text}\t({one.seconds:.1f} s)")
            for text, value in list(zip(one.texts, one.scores, strict=True))[1:]:
                typer.echo(f"\t{text}\t({value:.2f})")
    if as_json:
        print_json({"translations": [_translation(one) for one in done]})
    if failed:
        raise typer.Exit(2)


def report(
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write one HTML page about a run: scores, curves and sample clips.

    Example: slt-cache report --run runs/avatar
    """
    from slt_cache.pipeline.report import write_report

    page = write_report(open_run(run, config, settings))
    if as_json:
        print_json({"report": str(page)})
    else:
        typer.echo(f"report: {page}")


def _translation(one: Any) -> dict[str, Any]:
    nbest = [{"text": text, "score": value} for text, value in zip(one.texts, one.scores, strict=True)]
    return {"video": str(one.video), "text": one.text, "nbest": nbest, "seconds": round(one.seconds, 3)}


def _figures(scores: dict[str, Any]) -> dict[str, Any]:
    return {
        "scores": {key: round(found.value, 2) for key, found in scores.items()},
        "signatures": {key: found.signature for key, found in scores.items()},
    }


def _print_scores(scores: dict[str, Any], what: str) -> None:
    typer.echo(what)
    for found in scores.values():
        typer.echo(f"  {found.name:<20}{found.value:6.2f}   {found.signature}")
