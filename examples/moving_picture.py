"""Draw a moving picture of videos joined by cuts, and of the boundaries that the encoder finds in them.

    python examples/moving_picture.py --clips a.mp4 b.mp4 c.mp4 --output picture.webp

The clips are joined into one video, which `pipeline("video-boundary-detection")` reads with the packaged
encoder, its threshold and its other defaults. What is drawn is its result.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from transformers import pipeline

import bsp_hf
from bsp_hf import LocalizedSegments, VideoReader
from bsp_hf.files import atomic_file
from bsp_hf.pretraining.rendering.files import write_h264_video
from bsp_hf.training.command_line import exit_on_mistakes, parse_settings
from bsp_hf.training.options import option

BLUE, ORANGE, GRAY, INK = "#0072B2", "#D55E00", "#8C8C8C", "#222222"
PLOT_HEIGHT, MARGIN = 120, 14


@dataclass(kw_only=True)
class PictureSettings:
    """What is drawn, and how large."""

    clips: list[Path] = option(help_text="videos that are joined, in this order")
    output: Path = option(help_text="picture to write, .webp or .gif")
    width: int = option(480, "width of the picture in pixels")
    fps: int = option(10, "pictures a second")
    seconds: float = option(4.0, "most seconds of each clip")
    quality: int = option(55, "quality of the WebP, up to 100")


def join_clips(settings: PictureSettings, path: Path, fps: int = 25) -> list[float]:
    """Write the clips one after another; return the seconds at which they were joined."""
    frames, joins_s = [], []
    for clip in settings.clips:
        with VideoReader(clip, fps=fps, end_s=settings.seconds) as video:
            joins_s.append(len(frames) / fps)
            frames += [frame.image for frame in video]
    size = tuple(side // 2 * 2 for side in frames[0].shape[1::-1])
    write_h264_video(path, (np.asarray(Image.fromarray(f).resize(size)) for f in frames), fps=fps, crf=16)
    return joins_s[1:]


def draw_pictures(path: Path, found: LocalizedSegments, settings: PictureSettings, threshold: float) -> list:
    """Return the frames with the response up to each below it, and the boundaries passed so far."""
    font = ImageFont.load_default(13)
    pictures = []
    with VideoReader(path, fps=settings.fps) as video:
        for frame in video:
            picture = Image.fromarray(frame.image)
            height = round(settings.width * picture.height / picture.width)
            canvas = Image.new("RGB", (settings.width, height + PLOT_HEIGHT), "white")
            canvas.paste(picture.resize((settings.width, height), Image.Resampling.LANCZOS))
            draw_response(ImageDraw.Draw(canvas), font, height, frame.time_s, found, threshold)
            pictures.append(canvas)
    return pictures


def draw_response(draw, font, top: int, now_s: float, found: LocalizedSegments, threshold: float) -> None:
    """Draw the curve up to now, the threshold, and a marker for each boundary passed."""
    width = draw.im.size[0] - 2 * MARGIN
    base, high = top + PLOT_HEIGHT - 22, top + 26

    def place(time_s: float, value: float) -> tuple[float, float]:
        return MARGIN + width * time_s / found.duration_s, base - (base - high) * value

    draw.line([place(0, 0), place(found.duration_s, 0)], fill=GRAY)
    for x in range(MARGIN, MARGIN + width, 10):
        draw.line([(x, place(0, threshold)[1]), (x + 5, place(0, threshold)[1])], fill=GRAY)
    for second in range(0, int(found.duration_s) + 1, 2):
        draw.text((place(second, 0)[0], base + 4), f"{second} s", fill=GRAY, font=font, anchor="ma")
    past = found.times_s <= now_s
    curve = [place(t, v) for t, v in zip(found.times_s[past], found.scores[past], strict=True)]
    if len(curve) > 1:
        draw.polygon([(curve[0][0], base), *curve, (curve[-1][0], base)], fill="#9CC4DF")
        draw.line(curve, fill=BLUE, width=2)
    for boundary in found:
        if boundary["time_s"] <= now_s:
            x = place(boundary["time_s"], 0)[0]
            draw.line([(x, high - 4), (x, base)], fill=ORANGE, width=3)
            draw.text((x, high - 6), f"{boundary['time_s']:.1f} s", fill=ORANGE, font=font, anchor="ms")
    x = place(now_s, 0)[0]
    draw.line([(x, high), (x, base)], fill=INK)


def main() -> None:
    settings = parse_settings(PictureSettings, description=__doc__)
    find = pipeline("video-boundary-detection", model=bsp_hf.pretrained_path("bsp-tsm-lite0"))
    threshold = find.model.config.boundary_threshold
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "joined.mp4"
        joins_s = join_clips(settings, path)
        found = find(str(path), batch_size=16)
        pictures = draw_pictures(path, found, settings, threshold)
    with atomic_file(settings.output) as temporary:
        pictures[0].save(
            temporary,
            settings.output.suffix[1:],
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 / settings.fps),
            loop=0,
            quality=settings.quality,
            method=6,
        )
    print("joined at", *(f"{time_s:.2f}" for time_s in joins_s), "s; threshold", f"{threshold:.3f}")
    for boundary in found:
        print(f"found at {boundary['time_s']:.2f} s: {boundary['label']}, response {boundary['score']:.3f}")
    print(f"{settings.output}: {settings.output.stat().st_size / 1e3:.0f} kB, {len(pictures)} pictures")


if __name__ == "__main__":
    with exit_on_mistakes():
        main()
