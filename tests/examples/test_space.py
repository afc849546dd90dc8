"""The demo page: what it computes, and the page itself in a real browser."""

import json
import os
import re
import shutil
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from support.demo_page import SPACE, run_page, wait_for
from transformers import pipeline

sys.path.append(str(SPACE))
import analysis as space_analysis
import steps as space_steps
import timeline as space_timeline
import uploads as space_uploads

from bsp_hf import (
    BSPConfig,
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    save_checkpoint_folder,
    segment_video,
    write_segments,
)
from bsp_hf.encoder.video_source import PartialVideoWarning
from bsp_hf.features import read_track
from bsp_hf.localization.boundaries.kinds import CHANGE_KINDS
from bsp_hf.localization.segments.types import Change
from bsp_hf.pretraining.rendering.clips import render_long_video

LIMITS = space_uploads.Limits(largest_mb=100, longest_s=60)


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
    result = space_analysis.analyse(video, encoder, LIMITS, lambda *report: reported.append(report))
    return result, reported


def test_progress_rises_and_the_thumbnails_cover_the_video(analysis, video):
    result, reported = analysis
    shares = [share for share, _ in reported]
    assert shares == sorted(shares) and shares[0] == 0 and 0.9 < shares[-1] <= 1
    assert re.fullmatch(r"\d:\d\d of \d:\d\d seen", reported[1][1])
    times_s = np.array(result.thumbnail_times_s)
    assert times_s[0] == 0 and result.duration_s - times_s[-1] < 0.2
    assert result.thumbnail_width == 96 and result.sprite[:2] == b"\xff\xd8"


@pytest.fixture(scope="module")
def known(analysis):
    """An analysis with three known changes."""
    result, _ = analysis
    changes = (Change(20, "cut", 0.99), Change(40, "pace", 0.7), Change(60, "gradual", 0.8))
    return replace(result, changes=changes)


def test_the_changes_of_the_kinds_that_are_looked_for_are_shown(known):
    def shown(kinds, threshold) -> list[int]:
        divided = space_analysis.divide(known, kinds, threshold)
        html = space_timeline.render_timeline(known, divided)
        marked = [float(time_s) for time_s in re.findall(r'class="bsp-marker" data-jump-s="([\d.]+)"', html)]
        assert marked == pytest.approx([segment.start_s for segment in divided.segments[1:]], abs=1e-3)
        number = len(marked)
        assert f"<b>{number} change{'s' * (number != 1)}</b>" in html
        return [segment.start_frame for segment in divided.segments[1:]]

    assert shown(list(CHANGE_KINDS), 0.5) == [20, 40, 60]
    assert shown(list(CHANGE_KINDS), 0.75) == [20, 60]
    assert shown(["cut", "pace"], 0.5) == [20, 40]
    assert shown([], 0.5) == []


@pytest.mark.parametrize("segment_format", space_analysis.FORMATS)
def test_downloads_hold_the_track_and_the_segments(segment_format, known, tmp_path):
    divided = space_analysis.divide(known, ["cut"], 0.5)
    features, segments = space_analysis.write_downloads(known, divided, segment_format, tmp_path)
    assert read_track(features) == known.track
    assert segments.name.startswith("my video.segments.")
    again = write_segments(divided, tmp_path / f"again{segments.suffix}")
    assert segments.read_text() == again.read_text() and segments.stat().st_size > 50
    if segment_format == "json":
        content = json.loads(segments.read_text())
        assert [segment["kind"] for segment in content["segments"]] == [None, "cut"]
        assert content["encoder"] == "tiny-encoder" and content["boundaries"][0]["frame"] == 20


def test_names_of_videos_cannot_bring_code_onto_the_page(known):
    named = replace(known, video_name='<img src=x onerror="alert(1)">.mp4')
    html = space_timeline.render_timeline(named, space_analysis.divide(named, [], 0.5))
    assert "<img" not in html and "&lt;img" in html
    message = space_timeline.render_refusal("<img src=x>.mp4 is no video")
    assert "<img" not in message and "&lt;img" in message


def test_unsuitable_videos_are_refused_with_what_to_do(video, tmp_path):
    refused = pytest.raises(
        space_uploads.UnsuitableVideoError,
        match=r"my video\.mp4 is longer than .* 0:01 \(minutes:seconds\)\. Cut a part",
    )
    with refused:
        space_uploads.check_video(video, space_uploads.Limits(100, 1))
    with pytest.raises(space_uploads.UnsuitableVideoError, match=r"takes up to 0\.001 MB\. Make it smaller"):
        space_uploads.check_video(video, space_uploads.Limits(0.001, 100))
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(space_uploads.UnsuitableVideoError, match=r"^text\.mp4") as caught:
        space_uploads.check_video(text, LIMITS)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(space_uploads.UnsuitableVideoError, match="No such video"):
        space_uploads.check_video(tmp_path / "deleted.mp4", LIMITS)


@pytest.mark.parametrize(
    "num_frames, num_pixels, fits",
    [
        (60 * 30, 1920 * 1080, True),
        (60 * 60, 1280 * 720, True),
        (60 * 60, 1920 * 1080, False),
        (15 * 30, 3840 * 2160, True),
        (60 * 30, 3840 * 2160, False),
        (5 * 960, 8000 * 8000, False),
        (60 * 960, 64 * 48, False),  # the model sees every frame, however small
        (1, 8000 * 8000, True),
    ],
)
def test_the_limit_of_length_bounds_frames_times_pixels(num_frames, num_pixels, fits):
    if fits:
        LIMITS.check_work("a.mp4", num_frames, num_pixels)
        return
    with pytest.raises(
        space_uploads.UnsuitableVideoError, match=r"a\.mp4 .* 1080p .* up to 1:00 of that.*scale="
    ):
        LIMITS.check_work("a.mp4", num_frames, num_pixels)


def test_a_short_video_of_very_many_frames_is_refused_before_the_model_sees_it(tmp_path):
    path = tmp_path / "fast.mp4"
    write_video(path, num_frames=960, rate=960)
    space_uploads.check_video(path, space_uploads.Limits(1, 60))
    with pytest.raises(space_uploads.UnsuitableVideoError, match=r"0:16 \(minutes:seconds\) of 1080p"):
        space_uploads.check_video(path, space_uploads.Limits(1, 10))


def test_a_video_that_hides_its_length_is_refused_when_it_goes_on_too_long(encoder_folder, video, tmp_path):
    encoder = space_analysis.load_encoder(str(encoder_folder))
    with pytest.raises(space_uploads.UnsuitableVideoError, match=r"longer than .* 0:01"):
        space_analysis.analyse(video, encoder, space_uploads.Limits(100, 1))


def test_frames_that_no_header_states_are_counted_while_they_are_read(encoder_folder, tmp_path):
    path = tmp_path / "live.mkv"
    with path.open("wb") as file:  # what is streamed states no length and no number of frames
        write_video(SimpleNamespace(write=file.write, name="live.mkv"), num_frames=480, rate=240)
    limits = space_uploads.Limits(100, 3)
    space_uploads.check_video(path, limits)
    encoder, seen = space_analysis.load_encoder(str(encoder_folder)), []
    with pytest.raises(space_uploads.UnsuitableVideoError, match=r"live\.mkv .* of 1080p"):
        space_analysis.analyse(path, encoder, limits, lambda *report: seen.append(report))
    assert len(seen) <= 2 + 180 // -(-16 // torch.get_num_threads())  # 16 frames, shared between threads


def write_video(target, num_frames: int, rate: int, codec: str = "libx264") -> None:
    """Write frames that grow brighter."""
    with av.open(target, "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(num_frames):
            pixels = np.full((48, 64, 3), number % 200 + 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def test_the_page_finds_what_the_command_finds(encoder_folder, analysis, video):
    result, _ = analysis
    detector = pipeline("video-boundary-detection", model=str(encoder_folder))
    for threshold in (0.6, 0.75):
        expected = segment_video(str(video), detector, threshold=threshold)
        divided = space_analysis.divide(result, list(CHANGE_KINDS), threshold)
        assert divided.segments == expected.segments


# What the player cannot play


@pytest.mark.parametrize("name, codec", [("a.avi", "mpeg4"), ("a.mkv", "libx264"), ("a.mp4", "mpeg4")])
def test_what_browsers_do_not_play_is_shown_as_a_copy_with_the_same_times(name, codec, tmp_path):
    original, copy = tmp_path / name, tmp_path / "copy.mp4"
    write_video(original, num_frames=60, rate=24, codec=codec)
    assert space_uploads.check_video(original, LIMITS) is False
    assert list(space_uploads.convert_for_player(original, copy, LIMITS))
    assert space_uploads.check_video(copy, LIMITS) is True
    with space_analysis.VideoReader(original) as first, space_analysis.VideoReader(copy) as second:
        for one, other in zip(first, second, strict=True):
            assert one.time_s == pytest.approx(other.time_s, abs=1e-4)
            assert abs(float(one.image.mean()) - float(other.image.mean())) < 6
    with pytest.raises(space_uploads.UnsuitableVideoError, match="longer than"):
        list(space_uploads.convert_for_player(original, tmp_path / "more.mp4", space_uploads.Limits(1, 1)))


def test_frames_of_an_uneven_rate_stay_at_their_times_in_the_copy(tmp_path):
    original, copy = tmp_path / "a.mkv", tmp_path / "copy.mp4"
    times_s = [0.0, 0.04, 0.5, 0.54, 1.3, 2.0]
    with av.open(str(original), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_s in times_s:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    list(space_uploads.convert_for_player(original, copy, LIMITS))
    with space_analysis.VideoReader(copy) as frames:
        assert [frame.time_s for frame in frames] == pytest.approx(times_s, abs=1e-3)


# The folder of uploads


def test_old_files_go_whoever_made_them_and_new_ones_stay(tmp_path):
    (tmp_path / "hash").mkdir()
    broken_off, refused = tmp_path / "tmpabc", tmp_path / "hash" / "video.mp4"
    broken_off.write_bytes(b"half")
    refused.write_bytes(b"whole")
    (tmp_path / "link").symlink_to(tmp_path.parent)
    space_uploads.sweep(tmp_path, keep_s=60, most_mb=1)
    assert broken_off.exists() and refused.exists()
    time.sleep(0.05)
    space_uploads.sweep(tmp_path, keep_s=0.01, most_mb=1)
    assert not broken_off.exists() and not refused.exists() and tmp_path.parent.is_dir()
    time.sleep(0.05)
    space_uploads.sweep(tmp_path, keep_s=0.01, most_mb=1)  # the folder changed when its file went
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_files_go_when_all_together_are_too_large(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.mp4").write_bytes(bytes(1_000_000))
        time.sleep(0.02)
    space_uploads.sweep(tmp_path, keep_s=60, most_mb=2.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3.mp4", "4.mp4"]


def test_a_sweep_that_fails_is_followed_by_the_next(tmp_path, monkeypatch):
    calls = threading.Semaphore(0)

    def fail(*arguments: object) -> None:
        calls.release()
        raise RuntimeError("something new")

    monkeypatch.setattr(space_uploads, "sweep", fail)
    space_uploads.keep_sweeping(tmp_path, 0.01, 1, 1)
    assert calls.acquire(timeout=10) and calls.acquire(timeout=10)


# Work that its visitor may leave


def test_closing_stops_the_work_and_frees_its_slot():
    slots, reports, ended = threading.BoundedSemaphore(1), [], threading.Event()

    def work(report) -> str:
        try:
            for number in range(10_000):
                report(number / 10_000, str(number))
                reports.append(number)
                time.sleep(0.01)
            return "done"
        finally:
            ended.set()

    steps = space_steps.run_in_steps(work, slots, every_s=0.05)
    assert next(steps)[1].isdigit()
    steps.close()
    assert ended.wait(10) and len(reports) < 1000
    assert slots.acquire(timeout=10)


def test_work_waits_for_a_slot_and_gives_its_result_or_its_error():
    slots = threading.BoundedSemaphore(1)
    slots.acquire()
    steps = space_steps.run_in_steps(lambda report: 42, slots, every_s=0.05)
    assert next(steps) == (0.0, "waiting for others")
    slots.release()
    with pytest.raises(StopIteration) as end:
        while True:
            next(steps)
    assert end.value.value == 42

    def fail(report) -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        list(space_steps.run_in_steps(fail, slots, every_s=0.05))
    assert slots.acquire(timeout=10)


def test_damage_is_told_beside_what_could_be_read(encoder_folder, shared_data):
    encoder = space_analysis.load_encoder(str(encoder_folder))
    with pytest.warns(PartialVideoWarning):
        result = space_analysis.analyse(shared_data / "hostile" / "truncated_tail.mp4", encoder, LIMITS)
    divided = space_analysis.divide(result, list(CHANGE_KINDS), 0.5)
    assert "damaged, the rest is missing" in space_timeline.render_timeline(result, divided)


@pytest.mark.slow
def test_the_strip_of_a_panorama_fits_into_a_picture(tmp_path):
    path = tmp_path / "wide.mp4"
    render_long_video(path, num_actions=1, width=1024, height=64, min_action_s=9.7, max_action_s=9.8, fps=10)
    _, times_s, width = space_analysis.take_thumbnails(path, 9.7)
    assert width == 640 and len(times_s) > 90


# The page in a browser


def space_model(encoder_folder: Path) -> str:
    """Return the encoder of the page: the tiny one, or another for a better picture."""
    return os.environ.get("BSP_HF_SPACE_MODEL", str(encoder_folder))


@pytest.fixture
def page(encoder_folder, tmp_path):
    """The running page."""
    pytest.importorskip("gradio")
    with run_page(tmp_path, space_model(encoder_folder)) as page:
        yield page


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
    from selenium.webdriver.common.keys import Keys

    address, scratch = page.address, page.scratch
    feature_dim = BSPConfig.from_pretrained(space_model(encoder_folder)).hidden_size

    def find_all(selector):
        return browser.find_elements("css selector", selector)

    def upload(path: Path) -> None:
        wait_for(lambda: find_all("input[type=file]"), "the upload field")[0].send_keys(str(path))

    def current_time_s() -> float:
        return browser.execute_script("return document.querySelector('#player video').currentTime")

    def message() -> str:
        return " ".join(shown.text for shown in find_all(".toast-body, .bsp-refusal"))

    def is_paused() -> bool:
        return browser.execute_script("return document.querySelector('#player video').paused")

    def press(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    def wait_for_player() -> None:
        ready = "const v = document.querySelector('#player video'); return v && v.readyState > 0 && !v.error"
        wait_for(lambda: browser.execute_script(ready), "the player")

    def start() -> None:
        button = wait_for(lambda: [b for b in find_all("#start") if b.is_enabled()], "the button")[0]
        button.click()

    # As macOS names recordings, with a narrow blank.
    named = tmp_path / "Recording at 1.02.03\u202fPM.mp4"
    named.write_bytes(video.read_bytes())

    def open_tab() -> str:
        browser.switch_to.new_window("tab")
        browser.get(address)
        upload(named)
        wait_for_player()
        start()
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

    # The keyboard, now that the focus is on the timeline.
    times_s = [float(marker.get_attribute("data-jump-s")) for marker in markers]
    browser.execute_script("document.querySelector('#player video').currentTime = 0")
    press(Keys.ARROW_RIGHT)
    wait_for(lambda: abs(current_time_s() - times_s[0]) < 0.01, "the first boundary")
    browser.execute_script(f"document.querySelector('#player video').currentTime = {duration_s}")
    press(Keys.ARROW_LEFT)
    wait_for(lambda: abs(current_time_s() - times_s[-1]) < 0.01, "the last boundary")
    browser.execute_script("document.querySelector('#player video').currentTime = 0")
    press(" ")
    wait_for(lambda: not is_paused(), "the playing video")
    press(" ")
    wait_for(is_paused, "the video that pauses")

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
    wait_for(lambda: "long.mp4 is longer than this page takes, which is 0:45" in message(), "the refusal")
    assert not find_all("#start")[0].is_enabled()

    # What no browser plays, and work that is cancelled.
    avi = tmp_path / "old.avi"
    write_video(str(avi), num_frames=1000, rate=25, codec="mpeg4")
    upload(avi)
    wait_for_player()
    start()
    wait_for(lambda: find_all(".bsp-working"), "the work")
    find_all("#cancel")[0].click()
    wait_for(lambda: find_all(".bsp-hint") and not find_all(".bsp-working"), "the cancelled work")
    start()
    wait_for(lambda: find_all(".bsp-timeline"), "the timeline of the AVI file")
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(2_000_000))
    browser.get(address)
    upload(large)
    wait_for(lambda: "exceed" in message().lower(), "the refusal of a large file")
    assert [path.name.split("-")[0] for path in scratch.iterdir()] == ["bsp"]  # its own folder, no other
