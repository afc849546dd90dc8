"""The demo page with many visitors, visitors who leave, and visitors who want something else of it."""

import http.server
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests
from support.demo_page import DemoPage, run_page, wait_for
from test_space import encoder_folder  # noqa: F401  # a fixture

import bsp_hf
from bsp_hf.pretraining.rendering.clips import render_long_video

pytestmark = pytest.mark.slow
ASKED = [["cut", "action"], 0.5, "json"]


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("load") / "short.mp4"
    render_long_video(path, seed=3, num_actions=2, width=64, height=48, min_action_s=1.0, max_action_s=1.5)
    return path


def open_client(page: DemoPage):
    return pytest.importorskip("gradio_client").Client(page.address, verbose=False)


def visit(page: DemoPage, video: Path) -> str:
    """Upload a video and look for its changes; return what is shown."""
    client = open_client(page)
    shown = upload(client, video)
    return client.predict(*ASKED, api_name="/run")[0] if "bsp-hint" in shown else shown


def upload(client, video: Path) -> str:
    from gradio_client import handle_file

    answer = client.predict(handle_file(str(video)), api_name="/receive")
    return next(part for part in answer if isinstance(part, str) and "bsp-" in part)


def numbers_of(client) -> dict[str, int]:
    return {d["api_name"]: i for i, d in enumerate(client.config["dependencies"])}


def join(page: DemoPage, function: int, data: list, session: str) -> requests.Response:
    """Call a function of the page as its own script does; return the stream of its messages."""
    asked = {"data": data, "fn_index": function, "session_hash": session}
    requests.post(f"{page.address}/gradio_api/queue/join", json=asked, timeout=60).raise_for_status()
    address = f"{page.address}/gradio_api/queue/data?session_hash={session}"
    return requests.get(address, stream=True, timeout=120)


def ask(page: DemoPage, function: int, data: list) -> dict:
    """Call a function of the page as its own script does; return its last message."""
    with join(page, function, data, f"s{time.monotonic_ns()}") as stream:
        for line in stream.iter_lines():
            message = json.loads(line[5:]) if line.startswith(b"data:") else {}
            if message.get("msg") == "process_completed":
                return message
    raise AssertionError("no answer")


@pytest.fixture(scope="module")
def page(encoder_folder, tmp_path_factory):  # noqa: F811
    with run_page(tmp_path_factory.mktemp("page"), str(encoder_folder)) as page:
        yield page


def test_ten_visitors_are_served_in_bounded_memory(page, short):
    assert "bsp-timeline" in visit(page, short)  # what is loaded once is loaded
    process, peak = psutil.Process(page.pid), 0
    before = process.memory_info().rss
    with ThreadPoolExecutor(10) as visitors:
        visits = [visitors.submit(visit, page, short) for _ in range(10)]
        while not all(one.done() for one in visits):
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.2)
    assert all("bsp-timeline" in one.result() for one in visits)
    assert peak - before < 300e6


def test_a_visitor_who_left_frees_the_place_and_a_full_queue_says_so(short, tmp_path):
    long = tmp_path / "long.mp4"
    render_long_video(long, num_actions=12, width=64, height=48, min_action_s=3.0, max_action_s=3.2)
    settings = {"BSP_MAX_USERS": "1", "BSP_MAX_WAITING": "2"}
    model = bsp_hf.pretrained_path("bsp-tsm-lite0")  # takes much longer for this one than for the short one
    with run_page(tmp_path, model, **settings) as page:
        staying, leaving = open_client(page), open_client(page)
        assert "bsp-hint" in upload(staying, short)
        assert "bsp-hint" in upload(leaving, long)
        run = numbers_of(leaving)["run"]
        with join(page, run, [None, *ASKED], leaving.session_hash) as stream:
            seen = next(line for line in stream.iter_lines() if b" seen" in line)
            assert int(seen.split(b" of 0:")[0][-2:]) < 5
            waiting = [join(page, run, [None, *ASKED], f"waiting{number}") for number in range(2)]
            with pytest.raises(requests.HTTPError, match="503"):
                join(page, run, [None, *ASKED], "one too many")
            for one in waiting:
                one.close()
        begins = time.monotonic()
        assert "bsp-timeline" in staying.predict(*ASKED, api_name="/run")[0]
        short_s = time.monotonic() - begins
        begins = time.monotonic()
        assert "bsp-timeline" in staying.predict(*ASKED, api_name="/run")[0]
        # With the long one before it, the first would have taken fifteen times as long as the second.
        assert short_s < 6 * (time.monotonic() - begins)


def test_addresses_are_not_fetched(page, short):
    asked_for: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_for.append(self.path)
            self.send_error(404)

    elsewhere = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
    numbers, before = numbers_of(open_client(page)), set(page.files)
    for path in (f"http://127.0.0.1:{elsewhere.server_port}/a.mp4", "https://huggingface.co/a.mp4"):
        given = {"path": path, "url": path, "meta": {"_type": "gradio.FileData"}}
        # As the video, and hidden in a list of kinds.
        for name, data in (("receive", [given]), ("run", [None, [given], 0.5, "json"])):
            answer = ask(page, numbers[name], data)
            assert not answer["success"] and "upload the file" in answer["output"]["error"]
    assert asked_for == [] and set(page.files) == before
    assert "bsp-timeline" in visit(page, short)
    elsewhere.shutdown()


def test_files_are_deleted_whatever_visitors_do(encoder_folder, short, tmp_path):  # noqa: F811
    with run_page(tmp_path, str(encoder_folder), BSP_KEEP_MINUTES="0.15") as page:
        uploads = next(page.scratch.glob("*/gradio"))
        # A folder in place of a file: Gradio's own clean-up would end at it.
        folder = {"path": str(uploads), "meta": {"_type": "gradio.FileData"}}
        answer = ask(page, numbers_of(open_client(page))["receive"], [folder])
        assert "this is a folder" in answer["output"]["data"][4]
        # An upload that breaks off, one that is too large, one that is no video, and one that is.
        head = (
            "POST /gradio_api/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            '--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
        )
        with socket.create_connection(("127.0.0.1", page.port)) as connection:
            connection.sendall(head.encode() + bytes(300_000))
            wait_for(lambda: page.files, "the half file")
        large = requests.post(
            f"{page.address}/gradio_api/upload", files={"files": ("b.mp4", bytes(2_000_000))}, timeout=60
        )
        assert large.status_code == 413 and "maximum" in large.text
        text = tmp_path / "text.mp4"
        text.write_text("no video")
        assert "bsp-refusal" in visit(page, text)
        assert "bsp-timeline" in visit(page, short)
        wait_for(lambda: not page.files, "the clean-up", 60)
        assert "bsp-timeline" in visit(page, short)


@pytest.mark.parametrize(
    "name", ["Screen Recording 2026-01-01 at 1.02.03\u202fPM.mp4", "família 👨‍👩‍👧.mp4", "a #100%25 b.mp4"]
)
def test_videos_of_any_name_are_shown(name, page, short, tmp_path):
    named = tmp_path / name
    named.write_bytes(short.read_bytes())
    client = open_client(page)
    assert "bsp-hint" in upload(client, named)
    shown, *files = client.predict(*ASKED, api_name="/run")
    assert "bsp-timeline" in shown
    for file in files:
        assert Path(file["value"]).stat().st_size > 0
