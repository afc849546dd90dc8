"""`bsp-hf synth`: synthesized clips as a picture or a data set."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from bsp_hf.pretraining.drawing.presets import SYNTHESIS_PRESETS
from bsp_hf.pretraining.synthesis_config import SynthesisConfig

from ..application import SOME_FAILED, report_errors
from ..settings_options import with_settings


@with_settings(SynthesisConfig, SYNTHESIS_PRESETS)
def synth(
    *,
    video_dir: Annotated[
        Path | None, Argument(help="Folder of CLASS/clip.mp4; without it, clips are rendered.")
    ] = None,
    picture: Annotated[Path | None, Option(help="Picture of some clips to write: .png, .pdf.")] = None,
    output: Annotated[
        Path | None,
        Option("--output", "-o", help="Data set to write: a folder for load_dataset, or a .parquet file."),
    ] = None,
    push_to_hub: Annotated[
        str | None, Option(metavar="ORG/NAME", help="Hub data set repository to push to.")
    ] = None,
    private: Annotated[bool, Option("--private", help="Make that repository a private one.")] = False,
    metadata: Annotated[Path | None, Option(help="CSV: file, class, and optionally split and group.")] = None,
    split: Annotated[str | None, Option(help="Only the videos of 'train' or of 'test'.")] = None,
    kinds: Annotated[
        str, Option(help="Boundary types in the picture, with commas between them.")
    ] = "diff-class,same-class,diff-speed,same-speed",
    clips_per_kind: Annotated[int, Option(help="Clips of each kind in the picture.")] = 2,
    task: Annotated[str, Option(help="Pretext of the data set.")] = "boundary",
    num_clips: Annotated[int | None, Option(help="Clips of the data set; default: one epoch.")] = None,
    crop_size: Annotated[int, Option(help="Height and width of the frames, in pixels.")] = 160,
    settings: SynthesisConfig,
    seed: Annotated[int, Option(help="Seed of all that is drawn.")] = 0,
    num_proc: Annotated[int, Option(help="Processes that read videos.")] = 1,
) -> None:
    r"""Synthesize clips with boundaries from trimmed videos, as a picture or a data set.

    \b
    Examples:
      bsp-hf synth --picture clips.png
      bsp-hf synth clips/ --picture clips.png --kinds diff-speed,same-speed --frame-stride 2
      bsp-hf synth clips/ --picture clips.png --synthesis robust --jump-counts none
      bsp-hf synth clips/ --output boundary-clips --num-clips 1000 --crop-size 112
      bsp-hf synth clips/ --push-to-hub org/boundary-clips --private
    """
    with report_errors(registers=False):
        if picture is None and output is None and push_to_hub is None:
            raise ValueError("there is nothing to do; pass --picture, --output or --push-to-hub.")
        if picture is not None:
            from bsp_hf.visualization.style import require_matplotlib

            require_matplotlib()
        if output is not None and output.exists():
            raise ValueError(f"{output} exists; delete it, or pass another --output.")
        if split not in (None, "train", "test"):
            raise ValueError(f"--split {split} must be train or test.")
        if video_dir is not None and not video_dir.is_dir():
            raise ValueError(f"{video_dir} is not a folder; pass the one that holds CLASS/clip.mp4.")
    with report_errors():
        from bsp_hf import BoundaryType, load_boundary_clips
        from bsp_hf.files import atomic_file, atomic_folder
        from bsp_hf.pretraining.clip_dataset.folder import write_clip_folder
        from bsp_hf.pretraining.clip_dataset.picture import save_clip_picture
        from bsp_hf.pretraining.rendering.clips import render_action_clips
        from bsp_hf.pretraining.sources import count_frames, scan_video_folder, split_sources

        by_label = {kind.label: kind for kind in BoundaryType}
        unknown = [name for name in kinds.split(",") if name not in by_label]
        if unknown:
            raise ValueError(f"--kinds: {', '.join(unknown)} is none of {', '.join(by_label)}.")
        if video_dir is None:
            video_dir = render_action_clips(num_clips_per_class=4, num_held_out_per_class=2)
        sources, broken = count_frames(
            scan_video_folder(video_dir, metadata), num_proc if num_proc > 1 else 0
        )
        if split is not None:
            sources = split_sources(sources, seed=seed)[split == "test"]
        if picture is not None:
            num_shown = save_clip_picture(
                sources,
                picture,
                kinds=[by_label[name] for name in kinds.split(",")],
                clips_per_kind=clips_per_kind,
                synthesis=settings,
                frame_size=crop_size,
                seed=seed,
            )
            typer.echo(f"{picture}: {num_shown} clips out of {len(sources)} videos")
        if output is not None or push_to_hub is not None:
            # The cache of rows is as large as the data set, so it goes to the same disk.
            place = Path.cwd() if output is None else output.parent
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place, prefix=".bsp-hf-") as scratch:
                clips = load_boundary_clips(
                    sources,
                    num_clips=num_clips,
                    synthesis=settings,
                    task=task,
                    crop_size=crop_size,
                    seed=seed,
                    num_proc=num_proc,
                    cache_dir=scratch,
                )
                made = f"{len(clips)} clips out of {len(sources)} videos"
                if output is not None and output.suffix == ".parquet":
                    with atomic_file(output) as temporary:
                        clips.to_parquet(temporary)
                elif output is not None:
                    with atomic_folder(output) as temporary:
                        write_clip_folder(clips, temporary)
                if output is not None:
                    typer.echo(f"{output}: {made}")
                if push_to_hub is not None:
                    clips.push_to_hub(push_to_hub, private=private)
                    typer.echo(f"{push_to_hub}: {made}")
        if broken:
            typer.echo(f"{len(broken)} videos cannot be read and were left out", err=True)
            raise typer.Exit(SOME_FAILED)
