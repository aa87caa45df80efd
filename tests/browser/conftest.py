"""Pages in a real Chromium, driven by playwright: run by `make test-browser`, marked `browser`.

Chromium is the machine's own: the program that SLT_CACHE_CHROMIUM names, else `chromium` on the path."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = [
    "--headless",
    "--no-sandbox",  # a container's root has no user namespaces
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",  # a webcam that shows a moving pattern
    "--use-fake-ui-for-media-stream",  # every page may use it
]
WAIT_MS = 20_000
"""For anything that a page is waited for; a loaded machine is slow."""


@dataclass
class Seen:
    """What a page did since it was made."""

    errors: list[str] = field(default_factory=list)
    """Of its console, and exceptions of its scripts."""
    requests: list[str] = field(default_factory=list)
    """Every URL that was asked for, whether it was answered or not. Chromium tells of no data: URLs."""

    @property
    def outside(self) -> list[str]:
        """Requests that leave this machine."""
        here = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:", "http://localhost:", "ws://127.0.0.1:")
        return [url for url in self.requests if not url.startswith(here)]


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    """Fails, rather than skips, without playwright or Chromium: these tests are asked for by name."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("SLT_CACHE_CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.fail("no chromium on the path: apt-get install chromium, or set SLT_CACHE_CHROMIUM to the program.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: "Browser") -> "Iterator[Page]":
    """A new window of 1280 x 900 pixels, with nothing stored from before; a test sets its size or theme itself
    (`page.set_viewport_size`, `page.emulate_media(color_scheme="dark")`)."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.set_default_timeout(WAIT_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def seen(page: "Page") -> Seen:
    """What `page` does from here on; to be asked for before the page goes anywhere."""
    seen = Seen()
    page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("websocket", lambda socket: seen.requests.append(socket.url))
    return seen
