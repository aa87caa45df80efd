"""Filters the requests to the page's server: from whom, which ones, and how large they may be.

An ASGI application that wraps another one. Knows nothing of gradio but the few routes that the page uses."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slt_cache.app.receive import Receiver
from slt_cache.app.uploads import Uploads
from slt_cache.progress import log

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

API = "/gradio_api"
JOIN = f"{API}/queue/join"
POSTED = (JOIN, f"{API}/upload", f"{API}/cancel", f"{API}/reset")
"""Routes to which the page posts."""
FILE = f"{API}/file="
"""Prefix of the route that serves files; only an upload is served, whose path its visitor alone knows."""
CLOSED = tuple(
    f"{API}/{name}"
    for name in ("file", "proxy", "stream", "call", "run", "api", "dev", "vibe", "component", "deep_link")
)
"""Prefixes of routes that serve files or contact other hosts; the page needs none of them."""
LOCAL = ("localhost", "127.0.0.1", "::1")
BODY_BYTES = 64_000
"""Largest size of a question, which names an upload or a clip."""
BODY_SECONDS = 20
OPEN_REQUESTS = 256
"""Most simultaneous requests; a visitor has a handful."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:"
)
"""Content-Security-Policy, by which the browser blocks gradio's requests to other hosts."""


class Refused(Exception):
    """Raised for a request that is answered by a status and one line."""

    def __init__(self, status: int, line: str):
        super().__init__(line)
        self.status = status


class Gate:
    """Passes on the page's own requests, and refuses all others with one line."""

    def __init__(
        self,
        app: Any,
        hosts: Collection[str],
        uploads: Uploads,
        receiver: Receiver,
        questions: Mapping[int, Collection[str] | None],
    ):
        """Wraps an application. `hosts` are allowed names in addition to those of this machine; `questions` are the
        functions that may be called, with the allowed texts of each, or None for an upload."""
        self.app = app
        self.hosts = {*LOCAL, *(plain_host(f"[{host}]" if host.count(":") > 1 else host) for host in hosts)}
        self.uploads = uploads
        self.receiver = receiver
        self.questions = questions
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        begun = False

        async def send_with_policy(message: Any) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message.setdefault("headers", []).append((b"content-security-policy", POLICY.encode()))
            await send(message)

        self.open += 1
        try:
            await self._answer(scope, receive, send_with_policy)
        except Refused as refused:
            await answer_json(send_with_policy, refused.status, {"detail": str(refused)})
        except Exception as error:  # one line in place of the server's traceback
            log(f"{scope.get('method')} {scope.get('path', '')[:100]!a} failed: {type(error).__name__}: {error}"[:400])
            if not begun:
                await answer_json(send_with_policy, 500, {"detail": "This request failed."})
        finally:
            self.open -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise Refused(403, "Only HTTP is answered here.")
        self._require_host(scope)
        if self.open > OPEN_REQUESTS:
            raise Refused(503, "Too many requests at once. Try again in a minute.")
        method, path = scope["method"], scope["path"].rstrip("/")
        if method == "POST" and path in POSTED:
            await self._posted(path, scope, receive, send)
        elif method not in ("GET", "HEAD"):
            raise Refused(405, "This page accepts no such request.")
        elif path.startswith(FILE) and self.uploads.holds(Path(path.removeprefix(FILE))):
            await self.app(scope, receive, send)  # a visitor's own recording, which the page shows meanwhile
        elif path.startswith(CLOSED):
            raise Refused(403, "This page serves no files.")
        elif path == f"{API}/upload_progress":
            await self.receiver.progress(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _require_host(self, scope: Scope) -> None:
        """Refuses requests of other pages: of one whose own name leads here (DNS rebinding), or that sends forms."""
        asked = [value for name, value in scope["headers"] if name in (b"host", b"x-forwarded-host")]
        if not any(name == b"host" for name, _ in scope["headers"]):
            raise Refused(400, "No host was named.")
        named = [part for value in asked for part in value.decode("latin-1").split(",")]
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        served = {*self.hosts, str((scope.get("server") or ("",))[0])} - {""}  # the address that the request came to
        if not all(plain_host(host) in served for host in named):
            raise Refused(
                403, "This page is not served under that name. Its owner may start it with --allow-host NAME."
            )
        if not all(plain_host(urlsplit(origin).netloc) in served for origin in origins):
            raise Refused(403, "This page accepts no requests from other pages.")

    async def _posted(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if path == f"{API}/upload":
            await self.receiver.take(scope, receive, send)
            return
        body = await self._body(receive)
        if path != JOIN:
            await self.app(scope, _again(body, receive), send)
            return
        upload, question = self._question(body)
        accepted = False

        async def send_and_look(message: Any) -> None:
            nonlocal accepted
            if message["type"] == "http.response.start":
                accepted = message["status"] < 300
            await send(message)

        if upload is not None:
            self.uploads.wait(upload, True)
        try:
            length = (b"content-length", str(len(question)).encode())
            headers = [header for header in scope["headers"] if header[0] != b"content-length"]
            await self.app({**scope, "headers": [*headers, length]}, _again(question, receive), send_and_look)
        finally:
            if upload is not None and not accepted:
                self.uploads.wait(upload, False)

    async def _body(self, receive: Receive) -> bytes:
        body, more = b"", True
        while more:
            try:
                message = await asyncio.wait_for(receive(), BODY_SECONDS)
            except (asyncio.TimeoutError, TimeoutError):
                raise Refused(408, "The request did not arrive.") from None
            if message["type"] == "http.disconnect":
                raise Refused(400, "The request was cut off.")
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > BODY_BYTES:
                raise Refused(413, "The request is too large.")
        return body

    def _question(self, body: bytes) -> tuple[Path | None, bytes]:
        """Returns the upload, if any, and the question reduced to what is known. Raises Refused for anything that the
        page would not ask."""
        try:
            asked = json.loads(body)
            session, function, data = str(asked["session_hash"]), asked["fn_index"], asked["data"]
            [given] = data
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Refused(400, "The page asks no such question.") from None
        if type(function) is not int or function not in self.questions or not session.isalnum() or len(session) > 64:
            raise Refused(400, "This page has no such function.")
        texts = self.questions[function]
        upload: Path | None = None
        if texts is None and given is not None:
            upload = Path(str(given.get("path"))) if isinstance(given, dict) else Path()
            if not self.uploads.holds(upload):
                raise Refused(400, "This upload no longer exists. Upload the file again.")
            given = {"path": str(upload), "orig_name": upload.name, "meta": {"_type": "gradio.FileData"}}
        elif texts is not None and given is not None and not (isinstance(given, str) and given in texts):
            raise Refused(400, "There is no such clip.")
        trigger = asked.get("trigger_id")
        question = {
            "data": [given],
            "fn_index": function,
            "session_hash": session,
            "trigger_id": trigger if isinstance(trigger, int) else None,
            "event_data": None,
        }
        return upload, json.dumps(question).encode()


HOST = re.compile(r"(\[[0-9a-f:.%]+\]|[^:@/\[\]\s]+)(:\d*)?")


def plain_host(host: str) -> str:
    """Returns a name or an address without port, brackets, final dot and capitals; empty if it is neither."""
    found = HOST.fullmatch(host.strip().lower())
    return found[1].strip("[]").removesuffix(".") if found else ""


def _again(body: bytes, receive: Receive) -> Receive:
    """Returns a function that receives an already read body again, and then what follows it."""
    given = False

    async def receive_again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def answer_json(send: Send, status: int, value: Any) -> None:
    """Sends a complete response."""
    body = json.dumps(value).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
