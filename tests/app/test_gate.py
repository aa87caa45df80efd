"""What stands before the server of the page: whose requests pass, and what becomes of uploads. Without gradio."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slt_cache.app import receive as receive_module
from slt_cache.app import uploads as uploads_module
from slt_cache.app.gate import Gate, plain_host
from slt_cache.app.receive import Receiver
from slt_cache.app.uploads import NoRoom, Uploads
from tests.helpers.small_disks import fill, small_disk

JOIN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"
CLIPS = {"clip-1: es regnet"}


class Behind:
    """The server behind the gate: remembers what reached it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.status = 200
        self.fails = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append((await receive()).get("body", b""))
        if self.fails:
            raise RuntimeError("something unforeseen")
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"behind"})


class Page:
    """A gate round a server, and requests to it."""

    def __init__(self, folder: Path, hosts: tuple[str, ...] = ("127.0.0.1",), megabytes: int = 1):
        self.behind = Behind()
        self.uploads = Uploads(folder, 2_000_000)
        receiver = Receiver(self.uploads, megabytes)
        self.gate = Gate(self.behind, hosts, self.uploads, receiver, {0: None, 1: CLIPS})

    def ask(
        self,
        path: str,
        host: str = "127.0.0.1:7860",
        method: str = "GET",
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
        breaks_off: bool = False,
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of the answer."""
        sent: list[Any] = []
        messages = [{"type": "http.request", "body": body, "more_body": breaks_off}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "server": ("127.0.0.1", 7860),
            "headers": [(b"host", host.encode()), *((name.encode(), value.encode()) for name, value in headers)],
        }
        asyncio.run(self.gate(scope, receive, send))
        answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]), answered

    def join(self, **question: Any) -> int:
        asked = {"data": [None], "fn_index": 0, "session_hash": "abc", **question}
        return self.ask(JOIN, method="POST", body=json.dumps(asked).encode())[0]

    def give(self, data: bytes = b"video", name: str = "a.mp4", breaks_off: bool = False) -> tuple[int, bytes]:
        body = (
            f'--limit\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
            "Content-Type: video/mp4\r\n\r\n"
        ).encode() + data
        body += b"" if breaks_off else b"\r\n--limit--\r\n"
        size = len(body) + (1000 if breaks_off else 0)
        headers = (("content-type", "multipart/form-data; boundary=limit"), ("content-length", str(size)))
        status, answer, _ = self.ask(UPLOAD, method="POST", body=body, headers=headers, breaks_off=breaks_off)
        return status, answer


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return Page(tmp_path)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9999", "localhost.", "127.0.0.1:7860", "[::1]:7860"])
def test_this_machine_is_answered_by_whatever_port(page: Page, host: str) -> None:
    assert page.ask("/", host)[:2] == (200, b"behind")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "",
        "127.0.0.1:x",
        "[::1",
        "::1",
        "192.0.2.7",
        "0.0.0.0:7860",
    ],
)
def test_a_page_whose_name_was_made_to_lead_here_gets_nothing(page: Page, host: str) -> None:
    for path in ("/", "/config", "/gradio_api/info"):
        status, body, headers = page.ask(path, host, headers=(("origin", f"http://{host}"),))
        assert status == 403
        assert b"behind" not in body
        assert "access-control-allow-origin" not in headers
    assert page.behind.bodies == []


def test_named_hosts_are_answered(tmp_path: Path) -> None:
    page = Page(tmp_path, ("0.0.0.0", "slt.example.org", "fe80::1"))
    for host in ("slt.example.org", "SLT.example.org:443", "0.0.0.0:7860", "[fe80::1]:7860", "127.0.0.1"):
        assert page.ask("/", host)[0] == 200, host
    assert page.ask("/", "example.org")[0] == 403


def test_a_forwarded_host_and_a_second_host_must_be_known_too(page: Page) -> None:
    for name in ("x-forwarded-host", "host"):
        assert page.ask("/", headers=((name, "evil.example"),))[0] == 403
    assert page.ask("/", headers=(("x-forwarded-host", "localhost"),))[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1.evil.example", ""])
def test_requests_of_other_pages_are_refused(page: Page, origin: str) -> None:
    assert page.ask(JOIN, method="POST", body=b"{}", headers=(("origin", origin),))[0] == 403
    assert page.ask("/", headers=(("origin", "http://localhost:7860"),))[0] == 200


@pytest.mark.parametrize(
    "question",
    [
        {"fn_index": 99},
        {"fn_index": -1},
        {"fn_index": "0"},
        {"fn_index": None},
        {"fn_index": True},
        {"fn_index": [0]},
        {"session_hash": None, "fn_index": 99},
        {"session_hash": "../x"},
        {"data": None},
        {"data": []},
        {"data": [None, None]},
        {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}]},
        {"data": [{"url": "http://evil.example"}]},
        {"data": ["/etc/passwd"]},
        {"fn_index": 1, "data": ["another clip"]},
        {"fn_index": 1, "data": [{"path": "/etc/passwd"}]},
    ],
)
def test_what_the_page_would_not_ask_is_refused_in_a_line(
    page: Page, question: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert page.join(**question) == 400
    assert page.behind.bodies == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"data": [null]}', b"[" * 60_000])
def test_what_is_no_question_is_refused(page: Page, body: bytes) -> None:
    assert page.ask(JOIN, method="POST", body=body)[0] == 400
    assert page.ask(JOIN, method="POST", body=bytes(70_000))[0] == 413


def test_a_question_reaches_the_server_without_what_is_not_asked_for(page: Page) -> None:
    assert page.join(fn_index=1, data=[next(iter(CLIPS))], event_data={"path": "/etc/passwd"}, more=1) == 200
    [body] = page.behind.bodies
    assert json.loads(body) == {
        "data": [next(iter(CLIPS))],
        "fn_index": 1,
        "session_hash": "abc",
        "trigger_id": None,
        "event_data": None,
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/gradio_api/file=/etc/passwd", 403),
        ("GET", "/gradio_api/proxy=http://evil.example", 403),
        ("POST", "/gradio_api/run/predict", 405),
        ("POST", "/gradio_api/call/of_upload", 405),
        ("POST", "/login", 405),
        ("PUT", "/", 405),
        ("OPTIONS", JOIN, 405),
    ],
)
def test_routes_that_the_page_does_not_need_are_closed(page: Page, method: str, path: str, status: int) -> None:
    assert page.ask(path, method=method)[0] == status
    assert page.behind.bodies == []


def test_an_upload_is_served_under_its_path_until_it_is_deleted_and_no_other_file(page: Page) -> None:
    path = page.uploads.new_path("sample.webm")
    path.write_bytes(b"video")
    route = "/gradio_api/file="
    assert page.ask(f"{route}{path}")[0] == 403
    page.uploads.hold(path)
    assert page.ask(f"{route}{path}")[:2] == (200, b"behind")
    for other in (path.parent, f"{path.parent}/../{path.parent.name}/sample.webm", f"{path}x", "/etc/passwd", ""):
        assert page.ask(f"{route}{other}")[0] == 403, other
    page.uploads.delete(path)
    assert page.ask(f"{route}{path}")[0] == 403


def test_a_failing_request_is_one_line_and_no_traceback(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    page.behind.fails = True
    status, body, _ = page.ask("/config")
    assert status == 500 and b"unforeseen" not in body
    [line] = capsys.readouterr().err.splitlines()
    assert line == "GET '/config' failed: RuntimeError: something unforeseen"


def test_too_many_requests_at_once_are_told_to_come_back(page: Page) -> None:
    page.gate.open = 1000
    assert page.ask("/")[0] == 503
    assert page.gate.open == 1000


def test_equal_uploads_are_two_files_and_each_is_deleted_by_itself(page: Page) -> None:
    pytest.importorskip("starlette", reason="comes with gradio")
    pytest.importorskip("python_multipart", reason="comes with gradio")
    paths = []
    for _ in range(2):
        status, body = page.give(b"the same video")
        assert status == 200
        [path] = json.loads(body)
        paths.append(Path(path))
    first, second = paths
    assert first != second and first.name == second.name == "a.mp4"
    assert page.join(data=[{"path": str(first)}]) == page.join(data=[{"path": str(second)}]) == 200
    page.uploads.delete(first)
    assert second.read_bytes() == b"the same video"
    assert not first.parent.exists()
    assert page.join(data=[{"path": str(first)}]) == 400
    page.uploads.delete(second)
    assert list(page.uploads.folder.iterdir()) == [] and page.uploads.bytes == 0


def test_an_upload_that_breaks_off_leaves_nothing(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("python_multipart", reason="comes with gradio")
    monkeypatch.setattr("tempfile.tempdir", str(page.uploads.folder))
    assert page.give(bytes(900_000), breaks_off=True)[0] == 400
    assert list(page.uploads.folder.iterdir()) == [] and page.uploads.bytes == 0


def test_an_upload_that_falls_silent_is_given_up(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("python_multipart", reason="comes with gradio")
    monkeypatch.setattr(receive_module, "SILENT_SECONDS", 0.05)
    scope = {
        "type": "http",
        "method": "POST",
        "path": UPLOAD,
        "query_string": b"upload_id=x",
        "server": ("127.0.0.1", 7860),
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"content-type", b"multipart/form-data; boundary=limit"),
            (b"content-length", b"5000"),
        ],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(page.gate(scope, receive, send))
    assert sent[0]["status"] == 400
    assert page.uploads.bytes == 0
    sent.clear()
    asyncio.run(page.gate({**scope, "method": "GET", "path": "/gradio_api/upload_progress"}, receive, send))
    assert b'"msg": "done"' in sent[-1]["body"]


def test_files_that_are_too_large_or_too_many_or_of_unknown_size_are_refused(page: Page) -> None:
    pytest.importorskip("python_multipart", reason="comes with gradio")
    assert page.give(bytes(1_200_000))[0] == 413
    assert [page.give(bytes(900_000))[0] for _ in range(3)] == [200, 200, 503]
    form = (("content-type", "multipart/form-data; boundary=limit"),)
    assert page.ask(UPLOAD, method="POST", headers=form)[0] == 411
    assert page.ask(UPLOAD, method="POST", headers=(*form, ("content-length", "5")), body=b"hello")[0] == 400


def test_an_upload_that_fills_the_disk_is_told_so_in_a_line_and_the_next_one_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("python_multipart", reason="comes with gradio")
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        page = Page(disk)
        filler = fill(disk, 500_000)
        status, answer = page.give(bytes(900_000))
        assert (status, b"could not be stored" in answer) == (507, True)
        [line] = capsys.readouterr().err.splitlines()
        assert "No space left on device); " in line and " are free, and " in line
        assert (list(disk.iterdir()), page.uploads.bytes) == ([filler], 0)
        filler.unlink()
        assert page.give(bytes(900_000))[0] == 200


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("a\\b\\c.mp4", "c.mp4"),
        ("..", "video"),
        ("", "video"),
        ("x" * 300 + ".mp4", None),
        ("雪" * 100 + ".mp4", None),
        ("a\0b\n.mp4", "ab.mp4"),
    ],
)
def test_a_hostile_name_stays_in_its_folder(tmp_path: Path, name: str, kept: str | None) -> None:
    path = Uploads(tmp_path, 1).new_path(name)
    assert path.parent.parent == tmp_path
    assert path.name == (kept or path.name) and len(path.name.encode()) <= 200
    path.write_bytes(b"")


def test_an_upload_that_nobody_asks_about_is_deleted_soon_and_one_that_waits_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Uploads(tmp_path, 1000)
    paths = [held.new_path("a.mp4") for _ in range(2)]
    for path in paths:
        path.write_bytes(b"video")
        held.hold(path)
    held.wait(paths[1], True)
    now = time.monotonic()

    def after(seconds: float) -> list[bool]:
        monkeypatch.setattr("slt_cache.app.uploads.time.monotonic", lambda: now + seconds)
        held.sweep()
        return [path.exists() for path in paths]

    assert after(50) == [True, True]
    assert after(70) == [False, True]
    assert after(4000) == [False, False]


def test_room_is_kept_while_an_upload_arrives(tmp_path: Path) -> None:
    held = Uploads(tmp_path, 100)
    with held.expecting(60), pytest.raises(NoRoom), held.expecting(60):
        pass
    with held.expecting(60):
        pass


def test_sweeping_ends_with_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads_module, "SWEEP_SECONDS", 0.01)
    swept: list[int] = []
    held = Uploads(tmp_path, 1)
    monkeypatch.setattr(held, "sweep", lambda: swept.append(1))
    with held.swept():
        _until(lambda: bool(swept))
    number = len(swept)
    time.sleep(0.05)
    assert len(swept) == number


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("host", "name"), [("A.b:1", "a.b"), ("[::1]:80", "::1"), ("a b", ""), ("a:b:c", "")])
def test_a_host_is_compared_without_its_port(host: str, name: str) -> None:
    assert plain_host(host) == name
