"""The page's server: on this machine alone unless told otherwise, asking nothing of any other, and leaving nothing
behind."""

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from slt_cache.app.answer import Answerer
from slt_cache.corpora.clips import Clip, of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.errors import InputError
from slt_cache.pipeline.run import Run
from slt_cache.pipeline.terminal import say

STYLE = Path(__file__).with_name("style.css")
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_SSR_MODE": "False",
}
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:"
)
"""Content-Security-Policy: whatever gradio's scripts would ask other hosts for, the browser does not."""


def serve(run: Run, host: str, port: int | None, max_megabytes: int, max_seconds: float) -> None:
    """Answers until Ctrl-C or SIGTERM, with KeyboardInterrupt then. Raises InputError without gradio, without a
    trained run, and for a port that is taken."""
    _require_address(host, port)
    with _temporary_home() as home:
        page_module = _page_module()
        answerer = Answerer(run, max_seconds)
        drawn = run.config.corpus.name == "avatar"
        page = page_module.make_page(answerer, str(run.folder), test_clips(run), drawn, max_megabytes, max_seconds)
        address = _launch(page, page_module.theme(), host, port, max_megabytes, home)
        say(f"{address} (Ctrl-C ends it)")
        try:
            _wait()
        finally:
            page.close(verbose=False)


def _require_address(host: str, port: int | None) -> None:
    """Asked before anything is loaded; gradio would try a hundred ports first. Raises InputError."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just ended is no hindrance
            probe.bind(address)
    except OSError as error:
        where = host if port is None else f"{host}, port {port}"
        raise InputError(
            f"{where}: cannot be listened on ({error.strerror}). Choose another --host or --port."
        ) from error


def _page_module() -> Any:
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise InputError("the web page needs gradio: pip install 'gradio>=6'") from error
    from slt_cache.app import page

    return page


def test_clips(run: Run) -> list[Clip]:
    """Those of the run's test split whose videos are there; none without a manifest."""
    if not run.manifest.is_file():
        return []
    return [clip for clip in of_split(read_manifest(run.manifest), "test") if clip.video.exists()]


def _launch(page: Any, theme: Any, host: str, port: int | None, max_megabytes: int, home: Path) -> str:
    from starlette.middleware import Middleware

    try:
        _, address, _ = page.queue(max_size=16).launch(
            server_name=host,
            server_port=port,
            theme=theme,
            css=STYLE.read_text(encoding="utf-8"),
            max_file_size=f"{max_megabytes}mb",
            app_kwargs={"middleware": [Middleware(_Policy)]},
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            inbrowser=False,
            show_error=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
        )
    except OSError as error:
        raise InputError(f"{host}: no port from {port or 7860} on is free. Choose another --port.") from error
    return str(address)


class _Policy:
    """ASGI middleware: adds POLICY to every answer."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with(message: Any) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", []).append((b"content-security-policy", POLICY.encode()))
            await send(message)

        await self.app(scope, receive, send_with)


@contextmanager
def _temporary_home() -> Iterator[Path]:
    """A folder for uploads and all else that is written, deleted at the end. To be entered before gradio is imported,
    which reads these variables then."""
    with tempfile.TemporaryDirectory(prefix="slt-cache-app-") as folder:
        os.environ.update(QUIET, GRADIO_TEMP_DIR=folder)
        before, tempfile.tempdir = tempfile.tempdir, folder  # uploads that break off are written there, too
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def _wait() -> None:
    """Until Ctrl-C; SIGTERM counts as that, so that the temporary folder is deleted then, too."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    threading.Event().wait()
