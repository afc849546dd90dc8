"""Small folders of numbered videos for the tests of the pre-training data."""

from pathlib import Path

from bsp_hf import BSPFeatureExtractor
from bsp_hf.pretraining.sources import TrimmedVideo, count_frames, scan_video_folder
from support.rendered import read_number, read_numbers, render_video

__all__ = [
    "LENGTHS",
    "counted_sources",
    "read_number",
    "read_numbers",
    "render_classes",
    "render_video",
    "small_extractor",
    "unknown_videos",
]

# Frames of the two videos of each class.
LENGTHS = {"bend": (30, 24), "run": (26, 22), "wave": (28, 35)}


def render_classes(folder: Path, lengths: dict[str, tuple[int, ...]] = LENGTHS, **options) -> Path:
    """Write `CLASS/INDEX.mp4`, whose pictures show their frame number."""
    for label, counts in lengths.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number, count in enumerate(counts):
            render_video(folder / label / f"{number}.mp4", count, gop=8, **options)
    return folder


def counted_sources(folder: Path) -> list[TrimmedVideo]:
    sources, broken = count_frames(scan_video_folder(folder))
    assert not broken
    return sources


def unknown_videos(*lengths: int, labels: str = "aabb") -> list[TrimmedVideo]:
    """Sources that exist on paper only, for what needs no frames."""
    return [
        TrimmedVideo(Path(f"{label}{number}.mp4"), label.strip(), f"{number}", num_frames=length)
        for number, (length, label) in enumerate(zip(lengths, labels, strict=True))
    ]


def small_extractor(size: int = 32, short_side: int | None = None) -> BSPFeatureExtractor:
    return BSPFeatureExtractor(
        size={"shortest_edge": short_side or size}, crop_size={"height": size, "width": size}
    )
