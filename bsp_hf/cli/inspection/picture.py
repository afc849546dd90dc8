"""`bsp-hf picture`: one command for each picture; the end of the output's name says the format."""

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from bsp_hf.pretrained import DEFAULT_DETECTOR

from ..application import register_package, report_errors
from ..boundary_options import CoarseToFine, Kinds, MinGap, split_kinds
from ..early_checks import check_inputs, find_model
from ..progress import show_progress

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

picture = typer.Typer(
    help="Draw a picture: clips, features, boundaries, segments, a training (needs the extra 'plot').",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_Output = Annotated[Path, Option("--output", "-o", help="File to write: .png, .pdf or .svg.")]
_FORMATS = (".png", ".pdf", ".svg")
_Boundaries = Annotated[str | None, Option(help="True boundaries: seconds such as 3.2,7.5, or a JSON file.")]


def _draws(draw: Callable[..., "tuple[Figure, str]"]) -> Callable[..., None]:
    """Return a command that saves the figure which a function returns, and prints the text beside it."""

    @wraps(draw)
    def run(*, output: Path, **given: Any) -> None:  # Any: the value of an option
        _check_output(output)
        with report_errors(registers=False):
            from bsp_hf.files import atomic_file

            figure, text = draw(**given)
            with atomic_file(output) as temporary:
                figure.savefig(temporary, format=output.suffix[1:])
            typer.echo(f"{output}: {text}")

    signature = inspect.signature(draw)
    added = inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, annotation=_Output)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), added], return_annotation=None
    )
    run.__annotations__ = {**draw.__annotations__, "output": _Output, "return": None}
    return picture.command(draw.__name__)(run)


def _check_output(output: Path) -> None:
    """Refuse a format that matplotlib does not write, or that it is not there, before any work is done."""
    if output.suffix not in _FORMATS:
        raise typer.BadParameter(f"{output} must end in .png, .pdf or .svg.", param_hint="--output")
    with report_errors(registers=False):
        from bsp_hf.visualization.style import require_matplotlib

        require_matplotlib()


@picture.command("clips")
def clips(
    output: _Output,
    video_dir: Annotated[
        Path | None, Argument(help="Folder of CLASS/clip.mp4; without it, clips are rendered.")
    ] = None,
    clips_per_kind: Annotated[int, Option(help="Clips of each boundary type.")] = 2,
    seed: Annotated[int, Option(help="Seed of all that is drawn.")] = 0,
) -> None:
    r"""Draw synthesized clips of every boundary type (the paper's Figure 2).

    `bsp-hf synth --picture` draws the same, with every setting of the synthesis.

    \b
    Examples:
      bsp-hf picture clips -o clips.png
      bsp-hf picture clips clips/ -o clips.pdf --clips-per-kind 1
    """
    from ..pretraining.synth import synth

    _check_output(output)
    synth(video_dir=video_dir, picture=output, clips_per_kind=clips_per_kind, seed=seed)


@_draws
def timeline(
    video: Annotated[Path, Argument(help="The video.")],
    model: Annotated[
        str | None, Option(help="A boundary classifier: a folder or a Hub id; default: the packaged one.")
    ] = None,
    boundaries: _Boundaries = None,
    stride_frames: Annotated[int, Option(help="Frames between windows of the classifier.")] = 1,
    threshold: Annotated[
        float | None, Option(help="Smallest response of a picked boundary; default: the encoder's own.")
    ] = None,
    min_gap_s: MinGap = None,
    kinds: Kinds = None,
    coarse_to_fine: CoarseToFine = False,
    film_strip: Annotated[
        bool, Option("--film-strip/--no-film-strip", help="Whether to show frames of the video.")
    ] = True,
) -> "tuple[Figure, str]":
    r"""Draw where a video changes: the boundary response above a film strip, with the picked boundaries.

    \b
    Examples:
      bsp-hf picture timeline recording.mp4 -o timeline.png
      bsp-hf picture timeline recording.mp4 --model bsp-tsm-demo -o cuts.png --kinds cut,gradual
    """
    check_inputs([str(video)])
    model = find_model(model, DEFAULT_DETECTOR)
    register_package()
    from bsp_hf.localization.boundaries.response import settle_threshold
    from bsp_hf.localization.segments.segmenting import load_detector
    from bsp_hf.malloc import keep_freed_memory
    from bsp_hf.visualization import plot_boundary_response

    from .picture_inputs import read_boundaries

    truth = read_boundaries(boundaries)
    find = load_detector(model)
    threshold = settle_threshold(find.model.config, threshold)
    given = {"kinds": split_kinds(kinds), "min_gap_s": min_gap_s}
    keep_freed_memory()
    with show_progress(video.name, video) as progress:
        found = find(
            video,
            stride_frames=stride_frames,
            threshold=threshold,
            progress=progress,
            coarse_to_fine=coarse_to_fine,
            **{name: value for name, value in given.items() if value is not None},
        )
    if not len(found.times_s):
        raise ValueError(f"{video}: {found.error}")
    picked_s = [boundary["time_s"] for boundary in found]
    frames, frame_times_s = _spread_frames(video, found.duration_s) if film_strip else (None, None)
    figure = plot_boundary_response(
        found.times_s,
        found.scores,
        truth.times_s,
        frames=frames,
        frame_times_s=frame_times_s,
        picked_s=picked_s,
        kinds=truth.kinds,
        threshold=threshold,
        title=f"Where {video.name} changes",
    )
    return figure, f"{len(picked_s)} boundaries in {found.duration_s:.1f} s"


@_draws
def features(
    track: Annotated[Path, Argument(help="Features of one video, as `bsp-hf extract` writes them.")],
    boundaries: _Boundaries = None,
) -> "tuple[Figure, str]":
    r"""Draw the features of one video: heat map, change from snippet to snippet, self-similarity.

    \b
    Examples:
      bsp-hf picture features features/recording.npz -o features.png
    """
    from bsp_hf.features import read_track
    from bsp_hf.visualization import plot_feature_track

    from .picture_inputs import read_boundaries

    shown = read_track(track)
    truth = read_boundaries(boundaries)
    figure = plot_feature_track(
        shown.features,
        shown.centers_s,
        truth.times_s,
        truth.kinds,
        title=f"Features of {shown.record.video_id}",
    )
    return figure, f"{shown.num_snippets} snippets"


@_draws
def differences(
    tracks: Annotated[
        list[str], Argument(help="Features of one video by each encoder: a file, or NAME=FILE.")
    ],
    boundaries: Annotated[str, Option(help="True boundaries: seconds, or a JSON file.")],
    tolerance_s: Annotated[
        float | None, Option(help="How far from a boundary a pair of snippets still belongs to it.")
    ] = None,
) -> "tuple[Figure, str]":
    r"""Draw how much consecutive snippets differ at boundaries and elsewhere (the paper's Figure 4).

    \b
    Examples:
      bsp-hf picture differences BSP=bsp/v1.npz action=action/v1.npz --boundaries v1.json -o figure4.png
    """
    from bsp_hf.features import read_track
    from bsp_hf.visualization import plot_consecutive_differences

    from .picture_inputs import read_boundaries

    read = {}
    for word in tracks:
        name, _, place = word.rpartition("=")
        shown = read_track(Path(place))
        read[name or shown.record.encoder.id] = (shown.features, shown.centers_s)
    if len(read) < len(tracks):
        raise ValueError("two encoders have the same name; pass NAME=FILE.")
    figure = plot_consecutive_differences(read, read_boundaries(boundaries).times_s, tolerance_s)
    return figure, f"{len(read)} encoders"


@_draws
def segments(
    results: Annotated[Path, Argument(help="Predictions, as `bsp-hf localize` writes for ActivityNet.")],
    annotations: Annotated[Path, Argument(help="True segments, in any layout that training reads.")],
    video: Annotated[str | None, Option(help="Id of the video; by default the first of both.")] = None,
    most: Annotated[int, Option(help="Most predictions to draw, the likeliest first.")] = 10,
) -> "tuple[Figure, str]":
    r"""Draw predicted and true segments of one video under each other.

    \b
    Examples:
      bsp-hf picture segments results.json annotations.json -o segments.png
      bsp-hf picture segments results.json annotations.json --video v1 --most 5 -o segments.pdf
    """
    from bsp_hf.visualization import plot_segments

    from .picture_inputs import read_segments

    shown = read_segments(results, annotations, video, most)
    title = f"Predicted and true segments of {shown.video_id}"
    figure = plot_segments([shown.true, shown.predicted], shown.duration_s, title=title)
    num_true, num_predicted = len(shown.true.segments_s), len(shown.predicted.segments_s)
    return figure, f"{num_predicted} predicted, {num_true} true segments"


@_draws
def training(
    folder: Annotated[Path, Argument(help="Checkpoint folder, or its training_record.json.")],
) -> "tuple[Figure, str]":
    r"""Draw losses, held-out metrics and the learning rate of a training over its steps.

    \b
    Examples:
      bsp-hf picture training bsp-tsm-demo -o training.png
    """
    from bsp_hf.visualization import plot_training_curves

    from .picture_inputs import read_history

    history = read_history(folder)
    num_classes = max((len(entry.get("eval_confusion", ())) for entry in history), default=0)
    figure = plot_training_curves(
        history,
        metrics=["eval_accuracy"] if any("eval_accuracy" in entry for entry in history) else None,
        chance=1 / num_classes if num_classes else None,
    )
    return figure, f"{len(history)} entries"


@_draws
def confusion(
    folder: Annotated[Path, Argument(help="Checkpoint folder of a pre-training.")],
) -> "tuple[Figure, str]":
    r"""Draw which boundary types a pre-trained encoder takes for which, on held-out clips.

    \b
    Examples:
      bsp-hf picture confusion bsp-tsm-demo -o confusion.png
    """
    from bsp_hf.metrics.text_files import read_json
    from bsp_hf.visualization import plot_confusion_matrix

    from .picture_inputs import read_history

    matrices = [entry["eval_confusion"] for entry in read_history(folder) if "eval_confusion" in entry]
    if not matrices:
        raise ValueError(f"{folder}: no evaluation with classes is in its record.")
    labels = read_json(folder / "config.json").get("id2label", {}) if folder.is_dir() else {}
    names = [str(labels.get(str(number), number)) for number in range(len(matrices[-1]))]
    return plot_confusion_matrix(matrices[-1], names), f"{len(names)} classes"


def _spread_frames(video: Path, duration_s: float, count: int = 40) -> tuple["np.ndarray", "np.ndarray"]:
    """Return frames evenly spread over the video, uint8, and their times in seconds."""
    import numpy as np

    from bsp_hf import VideoReader

    with VideoReader(video, fps=max(count / max(duration_s, 0.1), 0.01)) as frames:
        shown = [(frame.image, frame.time_s) for frame in frames]
    return np.stack([image for image, _ in shown]), np.array([time_s for _, time_s in shown])
