"""The page of `slt-cache app` as a visitor meets it, on a tiny run."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import Seen
from tests.helpers.tiny_run import TALKING, succeed, train_tiny

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

UPLOAD = "input[type=file]"
GUARDED = """
import socket, sys
connect = socket.socket.connect
def guarded(self, address):
    if self.family != socket.AF_UNIX and not str(address[0]).startswith(("127.", "localhost", "::1")):
        print("OUTSIDE", address, file=sys.stderr, flush=True)
        raise OSError("no request leaves this machine")
    return connect(self, address)
socket.socket.connect = guarded
from slt_cache.cli import main
main()
"""
"""The program, telling of every connection that leaves the machine."""


COUNTED = """
window.recorded = 0;
const start = MediaRecorder.prototype.start;
MediaRecorder.prototype.start = function (...options) {
    this.addEventListener("dataavailable", (event) => { window.recorded += event.data.size; });
    return start.apply(this, options);
};
"""
"""Counts the bytes that a page records."""


@dataclass
class Server:
    address: str
    process: "subprocess.Popen[bytes]"
    log: Path
    temporary: Path
    """Where it makes its temporary folder."""

    def stop(self, sent: int) -> int:
        self.process.send_signal(sent)
        return self.process.wait(timeout=30)


def start(place: Path, *source: object) -> Server:
    """Starts the page of a run or a model folder, as `source` names it on the command line."""
    log, temporary = place / "log.txt", place / "temporary"
    temporary.mkdir()
    options = ("app", *map(str, source), "--max-megabytes", "1", "--max-seconds", "3")
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", GUARDED, *options], stderr=file, env={**os.environ, "TMPDIR": str(temporary)}
        )
    while process.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())
        if found:
            return Server(found[0], process, log, temporary)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("app") / "tiny", *TALKING)


@pytest.fixture(scope="module")
def server(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start(tmp_path_factory.mktemp("server"), "--run", run)
    yield server
    if server.process.poll() is None:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def videos(run: Path) -> list[Path]:
    return sorted((run / "corpus" / "videos").glob("*.mp4"))


def opened(page: "Page", server: Server) -> "Page":
    page.goto(server.address)
    page.wait_for_selector(UPLOAD, state="attached")
    return page


def give(page: "Page", video: Path, answer: str = ".slt-sentence") -> str:
    """Drops a file; the text of what then stands there."""
    page.set_input_files(UPLOAD, video)
    page.wait_for_selector(f".slt-answer:has-text({json.dumps(video.name)}) {answer}")
    shown: str = page.inner_text(".slt-answer")
    return shown


def translated(run: Path, video: Path) -> dict[str, Any]:
    one: dict[str, Any]
    [one] = json.loads(succeed("translate", "--run", run, video, "--nbest", "3", "--json").out)["translations"]
    return one


def test_uploaded_clips_give_what_translate_gives_and_nothing_leaves_the_machine(
    page: "Page", seen: Seen, server: Server, run: Path, videos: list[Path]
) -> None:
    opened(page, server)
    shown = set()
    for video in videos[:2]:
        give(page, video)
        rows = [row.split("\t") for row in page.inner_text(".slt-nbest tbody").splitlines()]
        expected = translated(run, video)
        assert page.inner_text(".slt-sentence") == expected["text"]
        assert rows == [[one["text"], f"{one['score']:.2f}"] for one in expected["nbest"]]
        shown.add(tuple(row[1] for row in rows))
        assert page.locator(".slt-attention li").all_inner_texts() == expected["text"].split()
        sizes = page.eval_on_selector_all(".slt-attention img", "images => images.map((image) => image.naturalWidth)")
        assert len(sizes) == 2 and all(sizes)
        assert f"{expected['frames']} frames" in page.inner_text(".slt-speed")
    assert len(shown) == 2  # scores of their own, whatever a model that learned nothing says
    assert seen.errors == []
    assert seen.outside == []
    assert any(url.startswith(server.address) for url in seen.requests)
    assert "OUTSIDE" not in server.log.read_text()
    assert list(server.temporary.rglob("*.mp4")) == []


def test_a_test_clip_is_chosen_by_its_name(page: "Page", seen: Seen, server: Server, run: Path) -> None:
    opened(page, server).get_by_label("test clips").click()
    page.keyboard.type("test-00001")
    page.keyboard.press("Enter")
    page.wait_for_selector(".slt-sentence")
    assert page.inner_text(".slt-sentence") == translated(run, run / "corpus/videos/test-00001.mp4")["text"]
    assert "reference: " in page.inner_text(".slt-answer")
    assert seen.errors == []
    assert seen.outside == []


def test_a_text_file_named_mp4_gives_a_message_and_the_next_video_its_sentence(
    page: "Page", seen: Seen, server: Server, videos: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    text = give(opened(page, server), bad, "strong")
    assert text.startswith("bad.mp4 was not translated: it cannot be read")
    assert "Use a video, such as mp4" in text
    assert give(page, videos[0])
    assert "Traceback" not in server.log.read_text()
    assert seen.errors == []


def test_limits_of_length_and_size_are_told(
    page: "Page", server: Server, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    text = give(opened(page, server), make_video(tmp_path / "long.mp4", 100), "strong")
    assert "it is 4.0 s long, but this page accepts 3 s" in text
    big = tmp_path / "big.mp4"
    big.write_bytes(bytes(1_500_000))
    page.set_input_files(UPLOAD, big)
    page.wait_for_selector("text=exceed the maximum allowed size of 1.0 Mb")
    assert list(server.temporary.rglob("*.mp4")) == []


def test_a_hostile_file_name_stays_text(
    page: "Page", seen: Seen, server: Server, videos: list[Path], tmp_path: Path
) -> None:
    hostile = tmp_path / "<img src=x onerror=document.title=1>.mp4"
    shutil.copy(videos[0], hostile)
    opened(page, server).set_input_files(UPLOAD, hostile)
    page.wait_for_selector(".slt-sentence")
    assert page.locator(".slt-answer img[src=x]").count() == 0
    assert page.title() == "slt-cache"
    assert seen.errors == []


def test_no_file_of_the_server_is_given_out_or_taken_for_an_upload(page: "Page", server: Server, run: Path) -> None:
    """What is taken for an upload is deleted afterwards."""
    private, api = run / "corpus" / "videos" / "test-00000.mp4", f"{server.address}gradio_api"
    assert page.request.get(f"{api}/file={private}").status == 403
    asked = {"data": [{"path": str(private), "meta": {"_type": "gradio.FileData"}}], "fn_index": 0, "session_hash": "x"}
    answer = page.request.post(f"{api}/queue/join", data=asked)
    assert answer.status == 400 and "no longer exists" in answer.text()
    assert private.is_file()


def test_what_is_asked_wrongly_prints_nothing(page: "Page", server: Server) -> None:
    before = server.log.read_text()
    wrong: tuple[object, ...] = ({"data": [None], "fn_index": 999, "session_hash": "x"}, {"data": 1}, [], None)
    for asked in wrong:
        assert page.request.post(f"{server.address}gradio_api/queue/join", data=json.dumps(asked)).status in (400, 403)
    assert server.log.read_text() == before


def test_another_host_is_not_answered_and_no_origin_is_allowed(page: "Page", server: Server) -> None:
    port = int(server.address.rstrip("/").rpartition(":")[2])
    for path in ("/", "/config", "/gradio_api/info"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path, headers={"Host": "evil.example", "Origin": "http://evil.example"})
        answer = connection.getresponse()
        assert answer.status == 403
        assert "evil" not in str(answer.getheaders()) + answer.read().decode()
        connection.close()


def test_two_visitors_with_equal_files_both_get_an_answer(
    chromium: "Browser", server: Server, videos: list[Path]
) -> None:
    contexts = [chromium.new_context() for _ in range(2)]
    pages = [opened(context.new_page(), server) for context in contexts]
    for page in pages:
        page.set_input_files(UPLOAD, videos[0])
    for page in pages:
        page.wait_for_selector(f".slt-answer:has-text({json.dumps(videos[0].name)}) .slt-sentence", timeout=60_000)
    assert len({page.inner_text(".slt-sentence") for page in pages}) == 1
    for context in contexts:
        context.close()
    assert list(server.temporary.rglob("*.mp4")) == []


def test_an_upload_that_breaks_off_leaves_nothing_on_disk(server: Server) -> None:
    port = int(server.address.rstrip("/").rpartition(":")[2])
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 900000\r\n"
        "Content-Type: multipart/form-data; boundary=limit\r\n\r\n"
        '--limit\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + bytes(600_000))
        time.sleep(1)
    time.sleep(1)
    sizes = [path.stat().st_size for path in server.temporary.rglob("*") if path.is_file()]
    assert sum(sizes) < 100_000
    assert "Traceback" not in server.log.read_text()


def test_the_video_plays_in_the_page(page: "Page", server: Server, videos: list[Path], seen: Seen) -> None:
    give(opened(page, server), videos[0])
    page.wait_for_function("document.querySelector('.slt-film').readyState >= 2")
    page.evaluate("document.querySelector('.slt-film').play()")
    page.wait_for_function("document.querySelector('.slt-film').currentTime > 0.1")
    assert page.evaluate("document.querySelector('.slt-film').videoWidth") > 0
    assert seen.errors == [] and seen.outside == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_and_follows_the_theme(
    page: "Page", server: Server, videos: list[Path], scheme: str
) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    give(opened(page, server), videos[0])
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", ground)[:3]))
    assert brightness < 200 if scheme == "dark" else brightness > 600


def test_other_addresses_are_not_listened_on(server: Server) -> None:
    port = server.address.rpartition(":")[2].rstrip("/")
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=False).stdout
    if not listening:
        pytest.skip("no ss here")
    [line] = [line for line in listening.splitlines() if f":{port} " in line]
    assert f"127.0.0.1:{port}" in line


def test_a_recording_from_the_webcam_gives_a_sentence_and_stays_nowhere(
    page: "Page", seen: Seen, server: Server
) -> None:
    page.add_init_script(COUNTED)
    opened(page, server).get_by_role("button", name="Access Webcam").click()
    page.wait_for_function("document.querySelector('video')?.readyState >= 2")
    record = page.get_by_label("start recording")
    record.click()
    page.wait_for_function("window.recorded > 2000")  # a busy machine encodes late
    record.click()
    page.wait_for_selector('.slt-answer:has-text("sample.webm") .slt-sentence', timeout=60_000)
    found = re.search(r"(\d+) frames", page.inner_text(".slt-speed"))
    assert found is not None and int(found[1]) > 0
    assert seen.outside == [] and "OUTSIDE" not in server.log.read_text()
    assert list(server.temporary.rglob("*.webm")) == []


def test_a_model_folder_answers_as_translate_does_with_it(
    page: "Page", seen: Seen, run: Path, videos: list[Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    succeed("export-model", "--run", run, "--out", model)
    server = start(tmp_path, "--model", model)
    try:
        give(opened(page, server), videos[0])
        [expected] = json.loads(succeed("translate", "--model", model, videos[0], "--json").out)["translations"]
        assert page.inner_text(".slt-sentence") == expected["text"]
        assert f"Model {model}." in page.inner_text("body") and "drawn figures" in page.inner_text("body")
        assert not page.get_by_label("test clips").is_visible()
        assert seen.errors == []
    finally:
        server.stop(signal.SIGKILL)


def test_told_to_end_it_ends_at_once_and_leaves_nothing_behind(server: Server) -> None:
    """The last test, since it ends the server of the others, after all that they gave to it. Ctrl-C is the easier one:
    SIGTERM ends a Python program without cleaning up, unless it cares."""
    assert list(server.temporary.iterdir())
    before = server.log.read_text()
    assert server.stop(signal.SIGTERM) == 130
    assert list(server.temporary.iterdir()) == []
    log = server.log.read_text()
    assert log.removeprefix(before) == "interrupted.\n"
    assert "OUTSIDE" not in log
