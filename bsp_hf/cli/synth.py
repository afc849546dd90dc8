"""`bsp-hf synth`: synthesized clips as a picture or a data set."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from .application import SOME_FAILED, report_errors

if TYPE_CHECKING:
    from bsp_hf import SynthesisConfig

_Element = TypeVar("_Element")


def split_list(text: str | None, element: Callable[[str], _Element]) -> tuple[_Element, ...] | None:
    """Return the elements of a text with commas between them, no element of `none`; `None` without a text."""
    if text is None:
        return None
    return () if text == "none" else tuple(element(part) for part in text.split(","))


def build_synthesis(name: str, **fields: Any) -> "SynthesisConfig":  # Any: a field's value; None for none
    """Return a preset of the synthesis with other values for some fields."""
    from bsp_hf.pretraining.drawing.presets import SYNTHESIS_PRESETS

    if name not in SYNTHESIS_PRESETS:
        raise ValueError(f"--synthesis {name} must be one of {', '.join(SYNTHESIS_PRESETS)}.")
    given = {field: value for field, value in fields.items() if value is not None}
    return replace(SYNTHESIS_PRESETS[name], **given)


def synth(
    video_dir: Annotated[
        Path | None, typer.Argument(help="Folder of CLASS/clip.mp4; without it, clips are rendered.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Picture of some clips to write: .png, .pdf.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Data set to write: a folder for load_dataset, or a .parquet file."
        ),
    ] = None,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="ORG/NAME", help="Hub data set repository to push to.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make that repository a private one.")] = False,
    metadata: Annotated[
        Path | None, typer.Option(help="CSV: file, class, and optionally split and group.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only the videos of 'train' or of 'test'.")] = None,
    kinds: Annotated[
        str, typer.Option(help="Boundary types in the picture, with commas between them.")
    ] = "diff-class,same-class,diff-speed,same-speed",
    clips_per_kind: Annotated[int, typer.Option(help="Clips of each kind in the picture.")] = 2,
    task: Annotated[str, typer.Option(help="Pretext of the data set.")] = "boundary",
    num_clips: Annotated[int | None, typer.Option(help="Clips of the data set; default: one epoch.")] = None,
    crop_size: Annotated[int, typer.Option(help="Height and width of the frames, in pixels.")] = 160,
    synthesis: Annotated[
        str, typer.Option(help="Preset of the fields below: figure, text, robust or consecutive.")
    ] = "consecutive",
    half_length: Annotated[int | None, typer.Option(help="Frames on each side of a boundary.")] = None,
    blend_half_width: Annotated[int | None, typer.Option(help="Half the cross-fade, in frames.")] = None,
    speeds: Annotated[str | None, typer.Option(help="Rates after a change of speed, as in 2,3,4.")] = None,
    min_side_frames: Annotated[int | None, typer.Option(help="Fewest frames before and after it.")] = None,
    frame_stride: Annotated[
        int | None, typer.Option(help="Source frames from one frame to the next.")
    ] = None,
    first_index: Annotated[int | None, typer.Option(help="Number of the first frame in Eq. 1: 0, 1.")] = None,
    rounding: Annotated[str | None, typer.Option(help="Of two equally near frames: even, up.")] = None,
    class_sampling: Annotated[
        str | None, typer.Option(help="Frames at class boundaries: stride, segments, clip_segments.")
    ] = None,
    segment_place: Annotated[str | None, typer.Option(help="Place in a segment: random, center.")] = None,
    action_sampling: Annotated[
        str | None, typer.Option(help="Frames of --task action: stride, segments.")
    ] = None,
    max_spacing: Annotated[int | None, typer.Option(help="Draw the stride up to this; 0: do not.")] = None,
    draws_change_point: Annotated[
        bool | None, typer.Option(help="Draw where class boundaries lie, too.")
    ] = None,
    transitions: Annotated[
        str | None, typer.Option(help="Of any boundary, as in hard,fade,wipe,zoom,dissolve; or none.")
    ] = None,
    transition_half_widths: Annotated[str | None, typer.Option(help="Half their lengths, as in 1,2.")] = None,
    jump_counts: Annotated[
        str | None, typer.Option(help="Visible jumps of a clip, as in 0,1,2; or none to draw no view.")
    ] = None,
    partner_choice: Annotated[str | None, typer.Option(help="Second video: random, alike.")] = None,
    num_alike: Annotated[int | None, typer.Option(help="Among how many an alike one is drawn.")] = None,
    num_changes: Annotated[int | None, typer.Option(help="Most changes of a clip.")] = None,
    ramp_epochs: Annotated[float | None, typer.Option(help="Epochs from easy clips to closed ones.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of all that is drawn.")] = 0,
    num_proc: Annotated[int, typer.Option(help="Processes that read videos.")] = 1,
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
        if output is not None and output.exists():
            raise ValueError(f"{output} exists; delete it, or pass another --output.")
        if split not in (None, "train", "test"):
            raise ValueError(f"--split {split} must be train or test.")
        if video_dir is not None and not video_dir.is_dir():
            raise ValueError(f"{video_dir} is not a folder; pass the one that holds CLASS/clip.mp4.")
    with report_errors():
        from bsp_hf import BoundaryType, load_boundary_clips
        from bsp_hf.files import atomic_file, atomic_folder
        from bsp_hf.pretraining.boundary_clips_folder import write_clip_folder
        from bsp_hf.pretraining.clip_picture import save_clip_picture
        from bsp_hf.pretraining.rendering.clips import render_action_clips
        from bsp_hf.pretraining.sources import count_frames, scan_video_folder, split_sources

        by_label = {kind.label: kind for kind in BoundaryType}
        unknown = [name for name in kinds.split(",") if name not in by_label]
        if unknown:
            raise ValueError(f"--kinds: {', '.join(unknown)} is none of {', '.join(by_label)}.")
        config = build_synthesis(
            synthesis,
            half_length=half_length,
            blend_half_width=blend_half_width,
            speeds=split_list(speeds, float),
            min_side_frames=min_side_frames,
            frame_stride=frame_stride,
            first_index=first_index,
            rounding=rounding,
            class_sampling=class_sampling,
            segment_place=segment_place,
            action_sampling=action_sampling,
            max_spacing=max_spacing,
            draws_change_point=draws_change_point,
            transitions=split_list(transitions, str),
            transition_half_widths=split_list(transition_half_widths, int),
            jump_counts=split_list(jump_counts, int),
            partner_choice=partner_choice,
            num_alike=num_alike,
            num_changes=num_changes,
            ramp_epochs=ramp_epochs,
        )
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
                synthesis=config,
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
                    synthesis=config,
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
