"""Receives uploads: bounded in size and time, and on disk without a name until they are complete."""

import asyncio
import json
import shutil
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from slt_cache.app.uploads import MEGABYTE, NoRoom, Uploads
from slt_cache.errors import SltCacheError
from slt_cache.progress import log
from slt_cache.write_errors import write_errors

FORM_BYTES = 64_000
"""Size of a form without its file."""
SILENT_SECONDS = 20
"""Seconds without a byte after which an upload counts as cut off."""
LONGEST_SECONDS = 600
"""Longest duration of an upload."""
PROGRESS_SECONDS = 0.2
"""Interval between two messages about an upload."""
MOST_TRACKED = 256


class Receiver:
    """Receives the page's uploads in place of gradio, in which equal files share a path, and which leaves incomplete
    ones on disk."""

    def __init__(self, uploads: Uploads, most_megabytes: int):
        self.uploads = uploads
        self.most_bytes = most_megabytes * MEGABYTE
        self._arrived: dict[str, tuple[int, bool]] = {}
        """Bytes received so far, and whether that is all, by the page's id of an upload."""

    async def take(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """Answers with a list of one path, as gradio's page expects."""
        from starlette.formparsers import MultiPartException
        from starlette.requests import ClientDisconnect, Request
        from starlette.responses import JSONResponse, PlainTextResponse, Response

        upload_id = _upload_id(scope)
        response: Response
        try:
            size = int(Request(scope).headers.get("content-length", ""))
            if size > self.most_bytes + FORM_BYTES:
                response = PlainTextResponse("The file is larger than this page accepts.", 413)
            else:
                with self.uploads.expecting(size):
                    request = Request(scope, self._counted(receive, upload_id))
                    response = JSONResponse([await self._stored(request)])
        except ValueError:
            response = PlainTextResponse("The size of the upload was not stated.", 411)
        except NoRoom:
            response = PlainTextResponse("Too many files are waiting. Try again in a minute.", 503)
        except SltCacheError as full:
            log(str(full))
            response = PlainTextResponse("The file could not be stored here. Try again later.", 507)
        except (ClientDisconnect, MultiPartException, _NoFile):
            response = PlainTextResponse("No complete file arrived.", 400)
        finally:
            if upload_id in self._arrived:
                self._arrived[upload_id] = (self._arrived[upload_id][0], True)
        await response(scope, receive, send)

    async def _stored(self, request: Any) -> str:
        from starlette.datastructures import UploadFile

        # Starlette keeps an incoming file without a name on disk: if it is cut off, nothing is left.
        with write_errors(self.uploads.folder / "an upload", "the page stays up"):
            async with request.form(max_files=1, max_fields=4) as form:
                file = next((part for part in form.values() if isinstance(part, UploadFile)), None)
                if file is None:
                    raise _NoFile
                path = self.uploads.new_path(file.filename or "")
                await asyncio.to_thread(_copy, file.file, path)
        self.uploads.hold(path)
        return str(path)

    def _counted(self, receive: Callable[[], Awaitable[Any]], upload_id: str) -> Callable[[], Awaitable[Any]]:
        """Counts the bytes that arrive; an upload that stalls or takes too long counts as cut off."""
        end = time.monotonic() + LONGEST_SECONDS
        if len(self._arrived) >= MOST_TRACKED:  # drop those that nobody asked about
            self._arrived = {name: found for name, found in self._arrived.items() if not found[1]}
        if upload_id:
            self._arrived[upload_id] = (0, False)

        async def counted() -> Any:
            try:
                message = await asyncio.wait_for(receive(), min(SILENT_SECONDS, max(end - time.monotonic(), 0.01)))
            except (asyncio.TimeoutError, TimeoutError):
                return {"type": "http.disconnect"}
            if upload_id in self._arrived:
                self._arrived[upload_id] = (self._arrived[upload_id][0] + len(message.get("body", b"")), False)
            return message

        return counted

    async def progress(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        """Sends events about an upload, as gradio's page expects."""
        upload_id, reported = _upload_id(scope), 0
        end = time.monotonic() + LONGEST_SECONDS
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        waited = 0.0
        while time.monotonic() < end and waited < SILENT_SECONDS:
            arrived, done = self._arrived.get(upload_id, (0, False))
            waited = 0.0 if arrived > reported else waited + PROGRESS_SECONDS
            if arrived > reported:
                await _event(send, {"msg": "update", "orig_name": "video", "chunk_size": arrived - reported}, more=True)
                reported = arrived
            if done:
                break
            await asyncio.sleep(PROGRESS_SECONDS)
        self._arrived.pop(upload_id, None)
        await _event(send, {"msg": "done"}, more=False)


class _NoFile(Exception):
    """Raised for a form without a file."""


def _upload_id(scope: Any) -> str:
    query: bytes = scope.get("query_string", b"")
    [given] = parse_qs(query.decode("latin-1")).get("upload_id", [""])[:1]
    return given[:64]


def _copy(source: Any, path: Any) -> None:
    try:
        with path.open("wb") as target:
            shutil.copyfileobj(source, target)
    except BaseException:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise


async def _event(send: Any, message: dict[str, Any], more: bool) -> None:
    body = f"data: {json.dumps(message)}\n\n".encode()
    await send({"type": "http.response.body", "body": body, "more_body": more})
