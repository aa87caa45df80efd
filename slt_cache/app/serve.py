"""The page's server: local unless configured otherwise; it contacts no other machine, and leaves no files."""

import ipaddress
import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slt_cache.app.answer import Answerer
from slt_cache.app.gate import Gate
from slt_cache.app.limits import Limits
from slt_cache.app.receive import Receiver
from slt_cache.app.uploads import MEGABYTE, Uploads
from slt_cache.corpora.base import Clip, of_split
from slt_cache.corpora.manifest import read_manifest
from slt_cache.corpora.registry import CORPORA, corpus_named, corpus_of
from slt_cache.errors import InputError
from slt_cache.pipeline.model_folder import WholeModel
from slt_cache.progress import log
from slt_cache.runs.run import Run

STYLE = Path(__file__).with_name("style.css")
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_SSR_MODE": "False",
}


def serve(
    source: Run | WholeModel,
    host: str,
    port: int | None,
    limits: Limits,
    allowed: Sequence[str] = (),
    reliability: bool = False,
    language: str | None = None,
) -> None:
    """Serves until KeyboardInterrupt, into which the command line turns Ctrl-C and SIGTERM. `allowed` are names of the
    page in addition to `host` and those of this machine; `language` is that of the sentences, if the run knows several.
    Raises InputError without gradio or a trained run, and for a port in use."""
    _require_address(host, port)
    with _temporary_home() as home:
        page_module = _page_module()
        answerer = Answerer(source, limits, reliability, language)
        uploads = Uploads(home, limits.total_megabytes * MEGABYTE)
        clips = test_clips(source, answerer.translator.language) if isinstance(source, Run) else []
        page = page_module.make_page(answerer, _title(source), clips, _is_of_drawn(source), limits, uploads)
        address = _launch(page, page_module.theme(), host, port, limits)
        app = page.server_app
        receiver = Receiver(uploads, limits.megabytes)
        # Around all of gradio's middleware, one of which would allow foreign pages to read the answer.
        questions = page_module.questions_of(page, clips)
        app.middleware_stack = Gate(app.middleware_stack, [host, *allowed], uploads, receiver, questions)
        if not is_loopback(host):
            log(
                f"warning: listening on {host}: everyone who can reach this machine may use this page, unencrypted and "
                "without a password. It answers to its addresses; for a name, add --allow-host NAME. To use it alone, "
                "omit --host, and use ssh -L from elsewhere."
            )
        log(f"{address} (stop with Ctrl-C)")
        try:
            with uploads.swept():
                threading.Event().wait()
        finally:
            page.close(verbose=False)


def _title(source: Run | WholeModel) -> str:
    return f"Run `{source.folder}`" if isinstance(source, Run) else f"Model `{source.folder}`"


def _is_of_drawn(source: Run | WholeModel) -> bool:
    """Returns whether a model was trained on the demo corpus."""
    if isinstance(source, Run):
        return corpus_of(source.config).is_drawn
    corpus = source.llm.model.about.corpus
    return corpus in CORPORA and corpus_named(corpus).is_drawn


def is_loopback(host: str) -> bool:
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return all(ipaddress.ip_address(str(address[4][0]).partition("%")[0]).is_loopback for address in addresses)
    except (OSError, ValueError):
        return False


def _require_address(host: str, port: int | None) -> None:
    """Checks the address before anything is loaded; gradio would try a hundred ports first. Raises InputError."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a recently closed socket does not matter
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


def test_clips(run: Run, language: str = "") -> list[Clip]:
    """Returns the clips of the run's test split whose videos exist, of one language if it is named; none without a
    manifest."""
    if not run.manifest.is_file():
        return []
    clips = of_split(read_manifest(run.manifest), "test")
    return [clip for clip in clips if language in ("", clip.language) and clip.video.exists()]


def _launch(page: Any, theme: Any, host: str, port: int | None, limits: Limits) -> str:
    try:
        _, address, _ = page.queue(max_size=limits.waiting).launch(
            server_name=host,
            server_port=port,
            theme=theme,
            css=STYLE.read_text(encoding="utf-8"),
            max_file_size=f"{limits.megabytes}mb",
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


@contextmanager
def _temporary_home() -> Iterator[Path]:
    """Yields a folder for uploads and other files, deleted at the end. Enter it before gradio is imported, which reads
    these variables then."""
    with tempfile.TemporaryDirectory(prefix="slt-cache-app-") as folder:
        os.environ.update(QUIET, GRADIO_TEMP_DIR=folder)
        before, tempfile.tempdir = tempfile.tempdir, folder  # incomplete uploads are written there, too
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before
