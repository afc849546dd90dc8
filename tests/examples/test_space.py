"""The demo page: what it computes, and the page itself in a real browser."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "space"))
import analysis as space_analysis
import timeline as space_timeline

from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPForBoundaryClassification, save_checkpoint_folder
from bsp_hf.encoder.video_source import PartialVideoWarning
from bsp_hf.features import read_track
from bsp_hf.localization.boundaries.response import BoundaryResponse
from bsp_hf.pretraining.rendering.clips import render_long_video

SPACE = Path(__file__).resolve().parents[2] / "examples" / "space"
LABELS = ("diff-class", "same-class", "diff-speed", "same-speed")


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "tiny-encoder"
    torch.manual_seed(0)
    backbone = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    model = BSPForBoundaryClassification(BSPConfig(backbone_config=backbone))
    extractor = BSPFeatureExtractor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    save_checkpoint_folder(model, extractor, folder)
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("space") / "my video.mp4"
    render_long_video(path, seed=3, num_actions=2, width=64, height=48, min_action_s=1.5, max_action_s=2.0)
    return path


@pytest.fixture(scope="module")
def analysis(encoder_folder, video):
    """The analysis of the video, with what was reported on the way."""
    reported = []
    encoder = space_analysis.load_encoder(str(encoder_folder))
    result = space_analysis.analyse(video, encoder, 60, progress=lambda *report: reported.append(report))
    return result, reported


def test_progress_rises_and_the_thumbnails_cover_the_video(analysis, video):
    result, reported = analysis
    shares = [share for share, _ in reported]
    assert shares == sorted(shares) and shares[0] == 0 and 0.9 < shares[-1] <= 1
    assert re.fullmatch(r"\d+ of \d+ s seen", reported[1][1])
    times_s = np.array(result.thumbnail_times_s)
    assert times_s[0] == 0 and result.response.duration_s - times_s[-1] < 0.2
    assert result.thumbnail_width == 96 and result.sprite[:2] == b"\xff\xd8"


def test_boundaries_are_peaks_of_the_kinds_that_are_looked_for(analysis):
    result, _ = analysis
    times_s = np.arange(0, 10, 0.1)
    probabilities = np.zeros((100, 4), np.float32)
    probabilities[:, 3] = 1
    probabilities[28:33] = [0.1, 0.8, 0, 0.1]
    probabilities[68:73] = [0, 0, 0.7, 0.3]
    response = BoundaryResponse(times_s, probabilities, 1 - probabilities[:, 3], 0.32, 10.0)
    known = space_analysis.Analysis("v.mp4", response, LABELS, result.track, b"", (0.0, 5.0), 96)
    _, found = space_analysis.find_boundaries(known, LABELS[:3], 0.5)
    assert [(round(b.time_s, 1), round(b.score, 1), b.kind) for b in found] == [
        (3.0, 0.9, "same-class"),
        (7.0, 0.7, "diff-speed"),
    ]
    _, cuts = space_analysis.find_boundaries(known, LABELS[:2], 0.5)
    assert [round(b.time_s, 1) for b in cuts] == [3.0]
    values, nothing = space_analysis.find_boundaries(known, [], 0.5)
    assert nothing == [] and not values.any()

    html = space_timeline.render_timeline(known, values, found, 0.5)
    assert re.findall(r'class="bsp-marker" data-jump-s="([\d.]+)" style="left:([\d.]+)%', html) == [
        ("3.000", "30.000"),
        ("7.000", "70.000"),
    ]
    assert "2 boundaries" in html and "cut within an action" in html


def test_downloads_hold_the_track_and_half_open_segments(analysis, tmp_path):
    result, _ = analysis
    found = [space_analysis.Boundary(1.25, 0.9, "diff-class")]
    features, segments = space_analysis.write_downloads(result, found, 0.5, tmp_path)
    assert read_track(features) == result.track
    content = json.loads(segments.read_text())
    end_s = round(result.response.duration_s, 3)
    assert content["segments"] == [{"start_s": 0, "end_s": 1.25}, {"start_s": 1.25, "end_s": end_s}]
    assert content["encoder"]["id"] and content["boundaries"][0]["kind"] == "diff-class"


def test_names_of_videos_cannot_bring_code_onto_the_page(analysis):
    result, _ = analysis
    name = '<img src=x onerror="alert(1)">.mp4'
    fields = {field: getattr(result, field) for field in ("response", "labels", "track", "sprite")}
    named = space_analysis.Analysis(
        name, **fields, thumbnail_times_s=result.thumbnail_times_s, thumbnail_width=96
    )
    html = space_timeline.render_timeline(named, np.zeros(len(result.response.times_s)), [], 0.5)
    assert "<img" not in html and "&lt;img" in html


def test_unsuitable_videos_are_refused_with_what_to_do(video, tmp_path):
    with pytest.raises(space_analysis.UnsuitableVideoError, match=r"seconds long; .* up to 1\. Cut"):
        space_analysis.check_video(video, 1.0, 100)
    with pytest.raises(space_analysis.UnsuitableVideoError, match=r"takes up to 0\.001 MB\. Make it smaller"):
        space_analysis.check_video(video, 100, 0.001)
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(space_analysis.UnsuitableVideoError, match=r"^text\.mp4") as caught:
        space_analysis.check_video(text, 100, 100)
    assert str(tmp_path) not in str(caught.value)


def test_a_video_that_hides_its_length_is_refused_when_it_goes_on_too_long(encoder_folder, video, tmp_path):
    encoder = space_analysis.load_encoder(str(encoder_folder))
    with pytest.raises(space_analysis.UnsuitableVideoError, match=r"more than 1 seconds long; .* up to 1\."):
        space_analysis.analyse(video, encoder, 1)


def test_damage_is_told_beside_what_could_be_read(encoder_folder, shared_data):
    encoder = space_analysis.load_encoder(str(encoder_folder))
    with pytest.warns(PartialVideoWarning):
        result = space_analysis.analyse(shared_data / "hostile" / "truncated_tail.mp4", encoder, 60)
    values, found = space_analysis.find_boundaries(result, LABELS[:3], 0.5)
    assert "damaged, the rest is missing" in space_timeline.render_timeline(result, values, found, 0.5)


@pytest.mark.slow
def test_the_strip_of_a_panorama_fits_into_a_picture(tmp_path):
    path = tmp_path / "wide.mp4"
    render_long_video(path, num_actions=1, width=1024, height=64, min_action_s=9.7, max_action_s=9.8, fps=10)
    _, times_s, width = space_analysis.take_thumbnails(path, 9.7)
    assert width == 640 and len(times_s) > 90


# The page in a browser


def wait_for(condition, what: str, timeout_s: float = 120.0):
    """Return the first true value of `condition`."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.25)
    raise AssertionError(f"waited {timeout_s:g} s for {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def space_model(encoder_folder: Path) -> str:
    """Return the encoder of the page: the tiny one, or another for a better picture."""
    return os.environ.get("BSP_HF_SPACE_MODEL", str(encoder_folder))


@pytest.fixture
def page(encoder_folder, tmp_path):
    """The running page: its address and its temporary folder, which must be empty when it stops."""
    pytest.importorskip("gradio")
    scratch, port = tmp_path / "scratch", free_port()
    scratch.mkdir()
    model = space_model(encoder_folder)
    environment = os.environ | {
        "BSP_MODEL": model,
        "BSP_MAX_MINUTES": "0.75",
        "BSP_MAX_MB": "1",
        "GRADIO_SERVER_PORT": str(port),
        "TMPDIR": str(scratch),
        "HF_HUB_OFFLINE": "1",
    }
    log = tmp_path / "page.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, str(SPACE / "app.py")], env=environment, stdout=said, stderr=subprocess.STDOUT
        )

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(answers, "the page", 240)
        yield f"http://127.0.0.1:{port}", scratch
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert list(scratch.iterdir()) == [], "the page left files behind"


@pytest.fixture
def browser(tmp_path):
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1180"):
        options.add_argument(argument)
    (tmp_path / "downloads").mkdir()
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(tmp_path / "downloads"), "intl.accept_languages": "en"}
    )
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.mark.slow
def test_a_visitor_uploads_sees_clicks_and_takes_the_files_home(
    page, browser, video, encoder_folder, tmp_path
):
    from selenium.webdriver.common.action_chains import ActionChains

    address, scratch = page
    feature_dim = BSPConfig.from_pretrained(space_model(encoder_folder)).hidden_size

    def find_all(selector):
        return browser.find_elements("css selector", selector)

    def upload(path: Path) -> None:
        wait_for(lambda: find_all("input[type=file]"), "the upload field")[0].send_keys(str(path))

    def current_time_s() -> float:
        return browser.execute_script("return document.querySelector('#player video').currentTime")

    def message() -> str:
        return " ".join(toast.text for toast in find_all(".toast-body"))

    def open_tab() -> str:
        browser.switch_to.new_window("tab")
        browser.get(address)
        upload(video)
        wait_for(lambda: find_all("#player video"), "the player")
        find_all("#start")[0].click()
        return browser.current_window_handle

    # Two visitors at a time.
    for tab in [open_tab(), open_tab()]:
        browser.switch_to.window(tab)
        wait_for(lambda: find_all(".bsp-timeline"), "the timeline")
    markers = find_all(".bsp-marker")
    assert markers and len(markers) == len(find_all(".bsp-chip"))
    browser.save_screenshot(str(tmp_path / "page.png"))

    # A boundary, then any place: the player jumps there, and the playhead with it.
    marker = markers[-1]
    ActionChains(browser).move_to_element(marker).click().perform()
    wanted_s = float(marker.get_attribute("data-jump-s"))
    wait_for(lambda: abs(current_time_s() - wanted_s) < 0.01, "the jump")
    assert find_all(".bsp-playhead")[0].is_displayed()
    strip = find_all(".bsp-strip")[0]
    ActionChains(browser).move_to_element(strip).perform()
    preview = find_all(".bsp-cursor")[0]
    assert preview.is_displayed()
    minutes, seconds = preview.text.split(":")
    duration_s = float(find_all(".bsp-timeline")[0].get_attribute("data-duration-s"))
    assert 60 * int(minutes) + float(seconds) == pytest.approx(duration_s / 2, abs=0.1)
    strip.click()
    wait_for(lambda: abs(current_time_s() - duration_s / 2) < 0.1, "the jump to the middle")

    # Higher than every response: the markers go, without another run of the model.
    slider = find_all("input[type=number]")[0]
    slider.clear()
    slider.send_keys("0.95\n")
    browser.execute_script("arguments[0].dispatchEvent(new Event('change', {bubbles: true}))", slider)

    for button, ending in (("#features", ".features.npz"), ("#segments", ".segments.json")):
        link = find_all(f"{button} a, a{button}") or find_all(button)
        link[0].click()
        found = wait_for(lambda ending=ending: list((tmp_path / "downloads").glob(f"*{ending}")), ending)
        if ending.endswith("npz"):
            track = read_track(wait_for(lambda found=found: found[0].stat().st_size and found[0], "the npz"))
            assert track.record.complete and track.dim == feature_dim
        else:
            assert json.loads(found[0].read_text())["segments"][0]["start_s"] == 0

    # What the page does not take.
    long = tmp_path / "long.mp4"
    render_long_video(long, num_actions=16, width=32, height=32, min_action_s=3.0, max_action_s=4.0)
    browser.switch_to.new_window("tab")
    browser.get(address)
    upload(long)
    wait_for(lambda: find_all("#player video"), "the player")
    find_all("#start")[0].click()
    wait_for(lambda: "this page takes up to 45" in message(), "the refusal of a long video")
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(2_000_000))
    browser.get(address)
    upload(large)
    wait_for(lambda: "exceed" in message().lower(), "the refusal of a large file")
    assert [path.name.split("-")[0] for path in scratch.iterdir()] == ["bsp"]  # its own folder, no other
