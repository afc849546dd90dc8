"""Where does a video change? A page that shows it, with thumbnails, and features and segments to keep.

    python examples/space/app.py

Environment: `BSP_MODEL` (folder, Hub id or packaged name of an encoder with its boundary classifier),
`BSP_MAX_MB` and `BSP_MAX_MINUTES` (largest and longest video), `BSP_MAX_USERS` (videos worked on at a time),
`BSP_MAX_WAITING` (visitors in the queue), `BSP_KEEP_MINUTES` (age at which files are deleted), `BSP_EXAMPLE`
and `BSP_EXAMPLE_CREDIT` (a video of your own as the example, and its maker and licence).
"""

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import FrameType

# Before Gradio is imported, which reads it once: all that it keeps lies in a folder that goes with the page.
SCRATCH = Path(tempfile.mkdtemp(prefix="bsp-space-"))
UPLOADS = SCRATCH / "gradio"
UPLOADS.mkdir()
os.environ["GRADIO_TEMP_DIR"] = str(UPLOADS)
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(SCRATCH / "torch"))
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr  # noqa: E402
from analysis import (  # noqa: E402
    FORMATS,
    LEAST_THRESHOLD,
    Analysis,
    Encoder,
    analyse,
    divide,
    load_encoder,
    write_downloads,
)
from gradio import processing_utils  # noqa: E402
from starlette.requests import ClientDisconnect  # noqa: E402
from steps import Report, run_in_steps  # noqa: E402
from timeline import (  # noqa: E402
    EMPTY,
    SCRIPT,
    STYLE,
    render_progress,
    render_refusal,
    render_timeline,
)
from uploads import (  # noqa: E402
    Limits,
    UnsuitableVideoError,
    check_video,
    convert_for_player,
    format_length,
    keep_sweeping,
)

from bsp_hf.localization.boundaries.kinds import CHANGE_KINDS  # noqa: E402
from bsp_hf.localization.boundaries.response import settle_threshold  # noqa: E402
from bsp_hf.pretrained import DEFAULT_DETECTOR, find_packaged  # noqa: E402
from bsp_hf.pretraining.rendering.clips import render_long_video  # noqa: E402

logger = logging.getLogger(__name__)

MODEL = os.environ.get("BSP_MODEL", DEFAULT_DETECTOR)
LIMITS = Limits(
    float(os.environ.get("BSP_MAX_MB", "100")), 60 * float(os.environ.get("BSP_MAX_MINUTES", "5"))
)
MAX_USERS = int(os.environ.get("BSP_MAX_USERS", "2"))
MAX_WAITING = int(os.environ.get("BSP_MAX_WAITING", "32"))
KEEP_FILES_S = 60 * float(os.environ.get("BSP_KEEP_MINUTES", "30"))
# All files together, in largest uploads: each waiting visitor may have one.
MOST_UPLOADS = 2 * (MAX_WAITING + MAX_USERS)
MOST_SESSIONS = 200
# Those of the visitor's machine: the page fetches nothing from third parties.
FONTS = ("system-ui", "sans-serif")

ABOUT = f"""
# Where does it happen?
A video encoder that was pre-trained on synthesized boundaries looks for the moments at which a video changes.
Upload one of {LIMITS}, or take the example. Files are deleted after {KEEP_FILES_S / 60:g} minutes.
"""


def _refuse_address(*args: object, **kwargs: object) -> str:
    raise gr.Error("Addresses are not fetched: upload the file.", print_exception=False)


# Of every component, also those that take no file: Gradio fetches whatever address it is given.
processing_utils.ssrf_protected_download = processing_utils.async_ssrf_protected_download = _refuse_address


class _DisconnectFilter(logging.Filter):
    """Keep the tracebacks of uploads that break off out of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], ClientDisconnect))


logging.getLogger("uvicorn.error").addFilter(_DisconnectFilter())


def receive_upload(uploaded: str, report: Report) -> str:
    """Check an upload; return what the player shows: the upload itself, or a copy that it can play."""
    path = Path(uploaded)
    if check_video(path, LIMITS):
        return uploaded
    copy = Path(tempfile.mkdtemp(dir=UPLOADS)) / f"{path.stem}.mp4"
    for time_s in convert_for_player(path, copy, LIMITS):
        report(0.0, f"converting for the player: {format_length(time_s)}")
    return str(copy)


def build_page(encoder: Encoder, example: Path, credit: str) -> gr.Blocks:
    """Lay the page out and connect it; whatever belongs to one visitor is in `gr.State`."""
    slots = threading.BoundedSemaphore(MAX_USERS)
    off = gr.DownloadButton(interactive=False)
    ready, not_ready = gr.Button(interactive=True), gr.Button(interactive=False)

    def follow(
        task: Callable[[Report], object], row: Callable[[str], tuple]
    ) -> Generator[tuple, None, object]:
        """Yield rows of outputs with the progress of a task; return its result, or raise what to show."""
        steps = run_in_steps(task, slots)
        try:
            while True:
                yield row(render_progress(*next(steps)))
        except StopIteration as end:
            return end.value
        except UnsuitableVideoError:
            raise
        except Exception as error:
            logger.exception("a video failed")
            message = "This did not work, for a reason that is in the log of the page."
            raise UnsuitableVideoError(message) from error
        finally:
            steps.close()

    def show(analysis: Analysis | None, chosen: list[str], threshold: float, segment_format: str) -> tuple:
        if analysis is None:
            return EMPTY, off, off
        divided = divide(analysis, chosen, threshold)
        folder = Path(tempfile.mkdtemp(dir=UPLOADS))
        features, segments = write_downloads(analysis, divided, segment_format, folder)
        return (
            render_timeline(analysis, divided),
            gr.DownloadButton(value=str(features), interactive=True),
            gr.DownloadButton(value=str(segments), interactive=True),
        )

    def receive(uploaded: str | None) -> Iterator[tuple]:
        if uploaded is None:
            yield None, not_ready, None, None, EMPTY, off, off
            return
        try:
            played = yield from follow(
                lambda report: receive_upload(uploaded, report),
                lambda html: (gr.skip(), not_ready, None, None, html, off, off),
            )
            shown = gr.skip() if played == uploaded else played
            yield shown, ready, uploaded, None, EMPTY, off, off
        except UnsuitableVideoError as error:
            yield None, not_ready, None, None, render_refusal(str(error)), off, off

    def run(source: str | None, chosen: list[str], threshold: float, segment_format: str) -> Iterator[tuple]:
        try:
            if source is None:
                raise UnsuitableVideoError("Upload a video first, or take the example.")
            analysis = yield from follow(
                lambda report: analyse(Path(source), encoder, LIMITS, report),
                lambda html: (None, html, off, off),
            )
            yield analysis, *show(analysis, chosen, threshold, segment_format)
        except UnsuitableVideoError as error:
            yield None, render_refusal(str(error)), off, off

    with gr.Blocks(title="Where does it happen?") as page:
        source, analysis = gr.State(None), gr.State(None, time_to_live=KEEP_FILES_S)
        gr.Markdown(ABOUT)
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                player = gr.Video(label="Video", sources=["upload"], elem_id="player", height=340)
            with gr.Column(scale=2, min_width=320):
                take_example = gr.Button("Take the example", elem_id="example")
                gr.Markdown(credit, elem_id="credit")
                chosen = gr.CheckboxGroup(
                    [(name, kind) for kind, name in CHANGE_KINDS.items()],
                    value=list(CHANGE_KINDS),
                    label="Look for",
                )
                threshold = gr.Slider(
                    LEAST_THRESHOLD,
                    0.99,
                    max(LEAST_THRESHOLD, round(settle_threshold(encoder.classifier.config, None), 2)),
                    step=0.01,
                    label="Threshold",
                    info="Smallest response to a change; at first as calibrated in training",
                )
                with gr.Row():
                    start = gr.Button(
                        "Find the changes", variant="primary", elem_id="start", scale=2, interactive=False
                    )
                    cancel = gr.Button("Cancel", elem_id="cancel", scale=1, min_width=90)
        timeline = gr.HTML(EMPTY, elem_id="timeline", min_height=120)
        with gr.Row(equal_height=False):
            segment_format = gr.Dropdown(
                [(text, name) for name, text in FORMATS.items()],
                value="json",
                label="Format of the segments",
                elem_id="format",
            )
            segments = gr.DownloadButton("Download the segments", interactive=False, elem_id="segments")
            features = gr.DownloadButton("Download the features", interactive=False, elem_id="features")
        shown = [timeline, features, segments]
        whole = [player, start, source, analysis, *shown]
        limits = {"concurrency_id": "work", "concurrency_limit": MAX_USERS, "show_progress_on": timeline}
        choice = [chosen, threshold, segment_format]
        found = start.click(run, [source, *choice], [analysis, *shown], **limits)
        received = player.upload(receive, player, whole, cancels=[found], **limits)
        private = {"api_visibility": "private", "show_progress": "hidden"}
        player.clear(
            lambda: (not_ready, None, None, EMPTY, off, off),
            outputs=whole[1:],
            cancels=[received, found],
            **private,
        )
        take_example.click(
            lambda: (str(example), ready, str(example), None, EMPTY, off, off),
            outputs=whole,
            cancels=[received, found],
            **private,
        )
        cancel.click(None, cancels=[received, found])
        for work in (received, found):
            # Cancelled work has failed. Not in `cancel.click`: while Gradio cancels, it drops the clicks
            # that the hint invites.
            work.failure(lambda: EMPTY, outputs=timeline, **private)
        for setting in (threshold.release, chosen.change, segment_format.change):
            setting(show, [analysis, *choice], shown, **private)
    return page


def main() -> None:
    """Load the encoder, render the example and serve until the process is told to stop."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        encoder = load_encoder(find_packaged(MODEL))
        example, credit = Path(os.environ.get("BSP_EXAMPLE", "")), os.environ.get("BSP_EXAMPLE_CREDIT", "")
        if not example.is_file():
            example, credit = SCRATCH / "rendered.mp4", "Rendered, with three cuts."
            render_long_video(example, seed=7)
        page = build_page(encoder, example, credit)
        keep_sweeping(UPLOADS, min(60.0, KEEP_FILES_S / 4), KEEP_FILES_S, MOST_UPLOADS * LIMITS.largest_mb)
        page.queue(max_size=MAX_WAITING)
        page.launch(
            max_file_size=int(LIMITS.largest_mb * 1e6),
            allowed_paths=[str(example)],
            state_session_capacity=MOST_SESSIONS,
            css=STYLE,
            head=SCRIPT,
            theme=gr.themes.Soft(font=FONTS),
            ssr_mode=False,
        )
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)


def _stop(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
