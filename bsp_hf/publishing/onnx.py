"""Exports encoders to ONNX: any batch size, their record inside the file, checked in onnxruntime."""

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, PreTrainedModel

from bsp_hf.encoder.feature_extraction_bsp import BSPFeatureExtractor
from bsp_hf.encoder.modeling_bsp import BSPForBoundaryRegression
from bsp_hf.encoder.provenance import describe_encoder
from bsp_hf.files import atomic_file
from bsp_hf.version import install_command

from .folder_check import find_model_class

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
# Largest difference from PyTorch that is accepted. Half precision has three decimal digits.
TOLERANCES = {"float32": 1e-4, "float16": 2e-2}
_METADATA_PREFIX = "bsp_hf."
_CHECKED_BATCHES = (1, 3)


@dataclass(frozen=True)
class OnnxReport:
    """What was exported, and how far it is from PyTorch."""

    path: Path
    input_shape: tuple[int, ...]  # of `pixel_values` without the batch: (num_frames, 3, height, width)
    max_abs_diffs: dict[str, float]  # largest difference from PyTorch, by output
    dtype: str  # number type of weights, input and outputs
    opset: int  # version of ONNX's operators
    num_bytes: int

    def __str__(self) -> str:
        num_frames, channels, height, width = self.input_shape
        outputs = ", ".join(f"{name} {diff:.1e}" for name, diff in self.max_abs_diffs.items())
        return (
            f"{self.path}: {self.num_bytes / 1e6:.1f} MB, opset {self.opset}, {self.dtype}\n"
            f"  input:   pixel_values (batch, {num_frames}, {channels}, {height}, {width})\n"
            f"  largest difference from PyTorch: {outputs}"
        )


def export_onnx(
    model: PreTrainedModel | str | Path,
    path: str | Path,
    extractor: BSPFeatureExtractor | None = None,
    *,
    opset: int = 18,
    dtype: str = "float32",
    num_frames: int | None = None,
) -> OnnxReport:
    """Export an encoder to one ONNX file and check in onnxruntime that it computes the same.

    The file takes `pixel_values` `(batch, num_frames, 3, height, width)` with any batch, and returns
    `last_hidden_state` (unless a stream of a fusion has none), `pooler_output` and, of a model with a
    classifier, its logits. Its metadata holds the encoder's record, its preprocessing and its class names;
    see [`read_onnx_metadata`].

    The preprocessing, whose crop fixes height and width, is by default that of the checkpoint; a model that
    was not loaded from one has none. The file is replaced only if no output differs from PyTorch's by more
    than 1e-4 (2e-2 of its largest value in float16).
    """
    _require_packages()
    if dtype not in TOLERANCES:
        raise ValueError(f"dtype={dtype!r} is not one of {', '.join(TOLERANCES)}.")
    if opset < 18:
        raise ValueError(f"opset={opset} is too old; the exporter writes 18 and later.")
    if not isinstance(model, PreTrainedModel):
        extractor = extractor or AutoFeatureExtractor.from_pretrained(model)
        model = load_with_head(model)
    if extractor is None:
        raise ValueError(
            "extractor= is needed, because the model alone does not say how large its frames are."
        )
    exported = _FeaturesAndLogits(copy.deepcopy(model).cpu().eval().to(getattr(torch, dtype)))
    crop = extractor.crop_size
    shape = (num_frames or extractor.num_frames, 3, int(crop["height"]), int(crop["width"]))
    clips = _random_clips(_CHECKED_BATCHES[-1], shape, exported.model.dtype)
    path = Path(path)
    with torch.inference_mode(False), torch.no_grad(), atomic_file(path) as temporary:
        names = list(exported.outputs(clips[:1]))
        with _quiet():
            # Any: the stubs know what the old exporter returns, which is None
            program: Any = torch.onnx.export(
                exported,
                (clips,),
                dynamo=True,
                opset_version=opset,
                input_names=["pixel_values"],
                output_names=names,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},),
                verbose=False,
            )
        program.model.metadata_props.update(_describe(model, extractor))
        program.save(temporary, external_data=False)
        diffs = _compare(temporary, exported, shape, dtype)
    report = OnnxReport(path, shape, diffs, dtype, opset, path.stat().st_size)
    logger.info("%s", report)
    return report


def load_with_head(source: str | Path) -> PreTrainedModel:
    """Load a checkpoint, a folder or Hub id, as the package's class that saved it, with its head.

    Where the package has no such class, it is what `AutoModel` makes of it.
    """
    model_class = find_model_class(AutoConfig.from_pretrained(source).architectures) or AutoModel
    return model_class.from_pretrained(source)


def read_onnx_metadata(path: str | Path) -> dict[str, Any]:
    """Return what [`export_onnx`] wrote about an encoder.

    The entries are `encoder` (its record: id, revision, settings hash), `preprocessing` (the settings of
    [`BSPFeatureExtractor`]), `config`, `labels` (names of the classes; `None` without a classifier) and
    `format_version`.
    """
    _require_packages()
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    stored = session.get_modelmeta().custom_metadata_map
    found = {
        name.removeprefix(_METADATA_PREFIX): json.loads(value)
        for name, value in stored.items()
        if name.startswith(_METADATA_PREFIX)
    }
    if "encoder" not in found:
        raise ValueError(f"{path} has no record of its encoder; export it with bsp_hf.publishing.onnx.")
    return found


class _FeaturesAndLogits(nn.Module):
    """A model whose outputs are features and logits, in a fixed order."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    def outputs(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Run the model once; the features are caught where its head takes them."""
        caught: list[Mapping[str, Tensor]] = []
        hook = self.model.base_model.register_forward_hook(lambda module, args, output: caught.append(output))
        try:
            output = self.model(pixel_values=pixel_values, return_dict=True)
        finally:
            hook.remove()
        # Streams that give tokens have no features of frames, only the pooled ones.
        names = ("last_hidden_state", "pooler_output")
        features = {name: caught[0][name] for name in names if name in caught[0]}
        logits = {name: value for name, value in output.items() if name in ("logits", "action_logits")}
        return features | logits

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.outputs(pixel_values).values())


def _random_clips(batch_size: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(batch_size)
    return torch.randn(batch_size, *shape, generator=generator).to(dtype)


def _describe(model: PreTrainedModel, extractor: BSPFeatureExtractor) -> dict[str, str]:
    # The regression's classifier rates frames, and has no classes.
    has_classes = hasattr(model, "classifier") and not isinstance(model, BSPForBoundaryRegression)
    facts = {
        "format_version": FORMAT_VERSION,
        "encoder": describe_encoder(model, extractor),
        "config": model.config.to_dict(),
        "preprocessing": extractor.to_dict(),
        "labels": model.config.id2label if has_classes else None,
    }
    return {f"{_METADATA_PREFIX}{name}": json.dumps(value, default=str) for name, value in facts.items()}


def _compare(
    path: Path, exported: _FeaturesAndLogits, shape: tuple[int, ...], dtype: str
) -> dict[str, float]:
    """Return the largest difference of each output over clips of several batch sizes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    diffs: dict[str, float] = {}
    for batch_size in _CHECKED_BATCHES:
        clips = _random_clips(batch_size, shape, exported.model.dtype)
        expected = exported.outputs(clips)
        found = session.run(list(expected), {"pixel_values": clips.numpy()})
        for (name, value), array in zip(expected.items(), found, strict=True):
            if array.shape != tuple(value.shape):
                raise ValueError(
                    f"{name} came out of onnxruntime as {array.shape}, not {tuple(value.shape)}."
                )
            diff = (torch.from_numpy(array).double() - value.double()).abs().max().item()
            # In half precision the tolerance is relative.
            scale = 1.0 if dtype == "float32" else max(1.0, value.abs().max().item())
            if not diff <= TOLERANCES[dtype] * scale:
                raise ValueError(
                    f"{name} of {batch_size} clips differs by {diff:.1e} between onnxruntime and PyTorch, "
                    f"more than {TOLERANCES[dtype] * scale:.0e}; no file was written. Try another opset."
                )
            diffs[name] = max(diff, diffs.get(name, 0.0))
    return diffs


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{error.name} is not installed: {install_command('onnx')}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's messages about itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)
