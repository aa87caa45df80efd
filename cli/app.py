"""`app`."""

from typing import Annotated

import typer

from slt_cache.threads import NONE

from .interruptions import Interrupted
from .options import RUN_OPTIONS, BaseOption, LanguageOption, ModelOption, Options, run_or_model, takes


@takes("app", *RUN_OPTIONS, "device", left=Interrupted.CLOSES, spins=NONE)
def app(
    options: Options,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 lets in everybody who can reach this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="[default: the first free one, starting at 7860]"),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Another name that browsers may call the page by, such as that of a proxy. Repeatable. "
            "[default: only --host and localhost]",
        ),
    ] = None,
    max_megabytes: Annotated[int, typer.Option("--max-megabytes", min=1, help="Largest file that is accepted.")] = 100,
    max_total_megabytes: Annotated[
        int, typer.Option("--max-total-megabytes", min=1, help="Total size of the files that it holds at a time.")
    ] = 1000,
    max_seconds: Annotated[
        float, typer.Option("--max-seconds", min=0.1, help="Longest video that is accepted.")
    ] = 60.0,
    max_megapixels: Annotated[
        float, typer.Option("--max-megapixels", min=0.01, help="Largest frame: width x height.")
    ] = 9.0,
    max_gigapixels: Annotated[
        float, typer.Option("--max-gigapixels", min=0.01, help="Largest video: width x height x frames.")
    ] = 16.0,
    max_waiting: Annotated[int, typer.Option("--max-waiting", min=1, help="Videos that may wait for their turn.")] = 16,
    language: LanguageOption = None,
    model: ModelOption = None,
    base: BaseOption = None,
    reliability: Annotated[
        bool,
        typer.Option(
            "--reliability", help="Show how much of each sentence the video decided, with a warning if that is little."
        ),
    ] = False,
) -> None:
    """Show a trained run, or a folder of export-model, on a local web page: drop a video or record one, see its
    sentence and the frames that each word attends to.

    Needs gradio: pip install 'gradio>=6'. The page loads nothing from other machines; uploads are deleted as
    soon as they are translated.

    Example: slt-cache app --run runs/avatar
    """
    from slt_cache.app.limits import Limits
    from slt_cache.app.serve import serve

    limits = Limits(max_megabytes, max_total_megabytes, max_seconds, max_megapixels, max_gigapixels, max_waiting)
    serve(run_or_model(options, model, base, "app"), host, port, limits, allow_host or [], reliability, language)
