"""Where does a video change? A page that shows it: boundary timeline, thumbnails, features to take home.

    BSP_MODEL=demo/bsp-tsm-demo python examples/space/app.py

Environment: `BSP_MODEL` (folder or Hub id of an encoder with its boundary classifier), `BSP_MAX_MB` and
`BSP_MAX_MINUTES` (largest and longest video), `BSP_MAX_USERS` (videos analysed at a time). Uploads and
results lie in one temporary folder: half an hour each, and not longer than the page runs.
"""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

# Before Gradio is imported, which reads it once: all that it keeps lies in a folder that goes with the page.
SCRATCH = Path(tempfile.mkdtemp(prefix="bsp-space-"))
os.environ["GRADIO_TEMP_DIR"] = str(SCRATCH / "gradio")
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(SCRATCH / "torch"))
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr  # noqa: E402
from analysis import (  # noqa: E402
    Analysis,
    Encoder,
    UnsuitableVideoError,
    analyse,
    check_video,
    find_boundaries,
    load_encoder,
    write_downloads,
)
from timeline import EMPTY, KIND_NAMES, SCRIPT, STYLE, render_timeline  # noqa: E402

from bsp_hf.pretraining.rendering.clips import render_long_video  # noqa: E402

MODEL = os.environ.get("BSP_MODEL", "bsp-hf/bsp-tsm-r18")
MAX_MB = float(os.environ.get("BSP_MAX_MB", "100"))
MAX_MINUTES = float(os.environ.get("BSP_MAX_MINUTES", "5"))
MAX_USERS = int(os.environ.get("BSP_MAX_USERS", "2"))
CLEAN_EVERY_S, KEEP_FILES_S = 300, 1800
# Those of the visitor's machine: the page fetches nothing from third parties.
FONTS = ("system-ui", "sans-serif")

ABOUT = f"""
# Where does it happen?
A video encoder that was pre-trained on synthesized boundaries looks for the moments at which a video changes.
Drop one of up to {MAX_MB:g} MB and {MAX_MINUTES:g} minutes, or take the rendered example.
Uploads are deleted after {KEEP_FILES_S // 60} minutes.
"""


def build_page(encoder: Encoder, example: Path) -> gr.Blocks:
    """Lay the page out and connect it; whatever belongs to one visitor is in `gr.State`."""
    kinds = [kind for kind in KIND_NAMES if kind in encoder.labels]

    def show(
        analysis: Analysis | None, chosen: list[str], threshold: float
    ) -> tuple[str, gr.DownloadButton, gr.DownloadButton]:
        if analysis is None:
            return EMPTY, gr.DownloadButton(interactive=False), gr.DownloadButton(interactive=False)
        values, found = find_boundaries(analysis, chosen, threshold)
        folder = Path(tempfile.mkdtemp(dir=SCRATCH / "gradio"))
        features, segments = write_downloads(analysis, found, threshold, folder)
        return (
            render_timeline(analysis, values, found, threshold),
            gr.DownloadButton(value=str(features), interactive=True),
            gr.DownloadButton(value=str(segments), interactive=True),
        )

    def run(
        video: str | None,
        chosen: list[str],
        threshold: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Analysis, str, gr.DownloadButton, gr.DownloadButton]:
        if video is None:
            raise gr.Error("Drop a video first, or take the example.")
        try:
            check_video(Path(video), 60 * MAX_MINUTES, MAX_MB)
            analysis = analyse(
                Path(video),
                encoder,
                60 * MAX_MINUTES,
                progress=lambda share, text: progress(share, desc=text),
            )
        except UnsuitableVideoError as error:
            raise gr.Error(str(error), duration=None) from error
        return (analysis, *show(analysis, chosen, threshold))

    with gr.Blocks(title="Where does it happen?", delete_cache=(CLEAN_EVERY_S, KEEP_FILES_S)) as page:
        analysis = gr.State(None)
        gr.Markdown(ABOUT)
        with gr.Row():
            player = gr.Video(label="Video", sources=["upload"], elem_id="player", height=340, scale=3)
            with gr.Column(scale=2):
                take_example = gr.Button("Take the rendered example", elem_id="example")
                chosen = gr.CheckboxGroup(
                    [(KIND_NAMES[kind], kind) for kind in kinds], value=kinds, label="Look for"
                )
                threshold = gr.Slider(
                    0.05, 0.95, 0.5, step=0.05, label="Threshold", info="Smallest response of a boundary"
                )
                start = gr.Button("Find the boundaries", variant="primary", elem_id="start")
        timeline = gr.HTML(EMPTY, elem_id="timeline", min_height=120)
        with gr.Row():
            features = gr.DownloadButton("Features (npz)", interactive=False, elem_id="features")
            segments = gr.DownloadButton("Segments (json)", interactive=False, elem_id="segments")
        shown = [timeline, features, segments]
        take_example.click(lambda: str(example), outputs=player, show_progress="hidden")
        player.change(
            lambda: (None, *show(None, [], 0.5)), outputs=[analysis, *shown], show_progress="hidden"
        )
        start.click(run, [player, chosen, threshold], [analysis, *shown], show_progress_on=timeline)
        for setting in (threshold.release, chosen.change):
            setting(show, [analysis, chosen, threshold], shown, show_progress="hidden")
    return page


def main() -> None:
    """Load the encoder, render the example and serve until the process is told to stop."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        encoder = load_encoder(MODEL)
        example = SCRATCH / "rendered.mp4"
        render_long_video(example, seed=7)
        page = build_page(encoder, example)
        page.queue(max_size=32, default_concurrency_limit=MAX_USERS)
        page.launch(
            max_file_size=int(MAX_MB * 1e6),
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
