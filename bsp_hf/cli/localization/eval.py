"""`bsp-hf eval`: predictions against annotations, by the benchmark's official protocol."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from bsp_hf.localization.evaluation_options import EvaluationOptions

from ..application import report_errors
from ..settings_options import with_settings


@with_settings(EvaluationOptions)
def eval(
    *,
    predictions: Annotated[Path, Argument(help="File of predictions in the benchmark's layout.")],
    annotations: Annotated[Path, Argument(help="File of annotations, or CrossTask's folder.")],
    task: Annotated[
        str, Option(help="detection, thumos, grounding, actionness or boundaries.")
    ] = "detection",
    settings: EvaluationOptions,
    output: Annotated[
        Path | None, Option("--output", "-o", help="JSON file of the metrics to write.")
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
        from bsp_hf.localization.evaluation import evaluate_files

        report = evaluate_files(predictions, annotations, task, settings)
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
