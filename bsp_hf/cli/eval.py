"""`bsp-hf eval`: predictions against annotations, by the benchmark's official protocol."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .application import report_errors


def eval(
    predictions: Annotated[Path, typer.Argument(help="File of predictions in the benchmark's layout.")],
    annotations: Annotated[Path, typer.Argument(help="File of annotations, or CrossTask's folder.")],
    task: Annotated[
        str, typer.Option(help="detection, thumos, grounding, actionness or boundaries.")
    ] = "detection",
    subset: Annotated[str | None, typer.Option(help="Subset to score; default: the benchmark's own.")] = None,
    layout: Annotated[str | None, typer.Option(help="Layout of the annotations; default: detected.")] = None,
    durations: Annotated[
        Path | None, typer.Option(help="Table of id and duration (or length) in seconds.")
    ] = None,
    tasks: Annotated[Path | None, typer.Option(help="tasks_primary.txt, for CrossTask.")] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            help="Whose scorer to follow: activitynet, actionformer or opentad for detection, 2d-tan, lgi or "
            "qvhighlights for grounding; default: that of the annotations' layout."
        ),
    ] = None,
    segment_s: Annotated[float, typer.Option(help="Seconds of an actionness segment.")] = 0.2,
    labelling: Annotated[str, typer.Option(help="any_overlap or center, for actionness.")] = "any_overlap",
    min_consistency: Annotated[
        float | None, typer.Option(help="Skip videos whose raters agree less; GEBD uses 0.3.")
    ] = None,
    only_predicted: Annotated[
        bool, typer.Option("--only-predicted", help="Score the videos with predictions alone.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file of the metrics to write.")
    ] = None,
) -> None:
    r"""Score predictions by the official protocol of a benchmark.

    Videos without predictions count as missed (actionness cannot count them), unless --only-predicted is
    given; what the score is over is printed beside it.

    \b
    Examples:
      bsp-hf eval results.json activity_net.v1-3.min.json --output metrics.json
      bsp-hf eval results.json thumos_gt.json --task thumos
      bsp-hf eval predictions.jsonl charades_sta_test.txt --task grounding --rule lgi
      bsp-hf eval actionness.csv crosstask/annotations --task actionness --durations durations.csv
      bsp-hf eval boundaries.json tapos_gt_val.json --task boundaries
    """
    with report_errors(registers=False):
        from bsp_hf.files import atomic_write_text
        from bsp_hf.localization.evaluation import EvaluationOptions, evaluate_files

        options = EvaluationOptions(
            subset=subset,
            layout=layout,
            durations=durations,
            tasks=tasks,
            rule=rule,
            segment_s=segment_s,
            labelling=labelling,
            min_consistency=min_consistency,
            only_predicted=only_predicted,
        )
        report = evaluate_files(predictions, annotations, task, options)
        if not report.num_videos_with_predictions:
            raise ValueError(
                f"{predictions} names none of the {report.num_videos} videos to score in {annotations}; "
                "compare the ids of both, and --subset."
            )
        width = max(len(name) for name in report.metrics)
        rule_text = "" if report.rule is None else f" by the rule of {report.rule}"
        typer.echo(f"{task}{rule_text}, {report.coverage}")
        for name, value in report.metrics.items():
            typer.echo(f"  {name:<{width}}  {value:.4f}")
        for note in report.notes:
            typer.echo(note, err=True)
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_text(output, json.dumps(report.to_dict(), indent=1) + "\n")
