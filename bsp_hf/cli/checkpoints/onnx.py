"""`bsp-hf onnx`: an encoder as one ONNX file."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ..application import report_errors
from ..early_checks import find_model, refuse_existing


def onnx(
    model: Annotated[str, Argument(help="Checkpoint folder or Hub id.")],
    output: Annotated[Path, Argument(help="The .onnx file to write.")],
    opset: Annotated[int, Option(help="Version of ONNX's operators, 18 or later.")] = 18,
    dtype: Annotated[str, Option(help="float32, or float16 for half the size.")] = "float32",
    num_frames: Annotated[int | None, Option(help="Frames of a clip; default: those of a snippet.")] = None,
    force: Annotated[bool, Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    r"""Export an encoder, with its classifier if it has one, to ONNX.

    The file takes batches of any size, knows its preprocessing, and is compared with PyTorch in onnxruntime
    before it is kept.

    \b
    Examples:
      bsp-hf onnx bsp-tsm-r50 bsp-tsm-r50.onnx
      bsp-hf onnx org/bsp-tsm-r50 encoder.onnx --dtype float16
    """
    with report_errors(registers=False):
        refuse_existing(output, force)
        model = find_model(model)
    with report_errors():
        from bsp_hf.publishing.onnx import export_onnx

        typer.echo(str(export_onnx(model, output, opset=opset, dtype=dtype, num_frames=num_frames)))
