"""`app`."""

from typing import Annotated

import typer

from .options import (
    ConfigOption,
    DeviceOption,
    RunOption,
    SetOption,
    VerboseOption,
    guarded,
    open_run,
    sleep_while_waiting,
)


def register(app: typer.Typer) -> None:
    app.command("app")(guarded(web_page, goes_on=False))


def web_page(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 lets everybody in who can reach this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="[default: the first free one from 7860 on]", show_default=False),
    ] = None,
    max_megabytes: Annotated[int, typer.Option("--max-megabytes", min=1, help="Largest file that it takes.")] = 100,
    max_seconds: Annotated[float, typer.Option("--max-seconds", min=0.1, help="Longest video that it takes.")] = 60.0,
    run: RunOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    device: DeviceOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Show a trained run on a local web page: drop a video, see its sentence and what the model looked at.

    Needs gradio: pip install 'gradio>=6'. It asks nothing of other machines; uploads are deleted as soon as
    they are translated.

    Example: slt-cache app --run runs/avatar
    """
    sleep_while_waiting()
    from slt_cache.app.serve import serve

    serve(open_run(run, config, settings, device), host, port, max_megabytes, max_seconds)
