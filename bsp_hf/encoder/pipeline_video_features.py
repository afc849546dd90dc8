"""`pipeline("video-feature-extraction")`: a video of any length in, snippet features and their times out."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers.pipelines.base import ChunkPipeline
from transformers.utils import ModelOutput, logging

from .feature_extraction_bsp import BSPFeatureExtractor
from .provenance import describe_encoder
from .snippets import PaddingMode, iter_snippets
from .video import Frame, VideoDecodeError, VideoReader

logger = logging.get_logger(__name__)

_PREPROCESS_PARAMETERS = ("stride_frames", "fps", "padding", "start_s", "end_s", "input_fps", "timeout_s")


class VideoFeatureExtractionPipeline(ChunkPipeline):
    """Extract snippet features of videos, streaming: memory does not grow with the length of a video.

    Call it with a path, an open binary file, bytes, a uint8 array `(num_frames, height, width, 3)`, a list
    of PIL images or frames, or a list, generator or `KeyDataset` of these. Parameters of the call:

    - `stride_frames` (`int`): Frames between the starts of two snippets; by default what the checkpoint says.
    - `fps` (`float`): Rate that the video is resampled to; by default what the checkpoint says.
    - `padding` (`str`): `"repeat"` keeps a last snippet that is not full and repeats its last frame, `"drop"`
      drops it.
    - `start_s`, `end_s` (`float`): Part of the video, in seconds.
    - `input_fps` (`float`): Rate of frames that are already in memory; needed for these, refused for files.
    - `timeout_s` (`float`): Seconds after which a file that gives nothing is abandoned.
    - `return_tensors` (`bool`): Features and times as torch tensors instead of numpy arrays.

    The result of one video is a dict: `features` float32 `(num_snippets, dim)`, `centers_s` float64
    `(num_snippets,)`, `fps`, `snippet_frames`, `stride_frames`, `num_frames`, `duration_s`, `encoder` (id,
    revision, settings hash, dtype), `complete` (whether all of the video could be read) and `error` (why not,
    or `None`).

    One video that cannot be read raises [`VideoDecodeError`]. In a list it does not stop the others: its
    result has no rows and says why in `error`.
    """

    _load_tokenizer: Any = False  # Any: the base class declares None
    _load_processor: Any = False
    _load_feature_extractor = None
    _load_image_processor = None
    _load_video_processor = None

    def _sanitize_parameters(
        self, return_tensors: bool | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        unknown = set(kwargs) - {*_PREPROCESS_PARAMETERS, "raise_errors"}
        if unknown:
            raise TypeError(
                f"video-feature-extraction has no parameter {', '.join(sorted(unknown))}; it takes "
                f"{', '.join((*_PREPROCESS_PARAMETERS, 'return_tensors'))}."
            )
        preprocess = {key: value for key, value in kwargs.items() if value is not None}
        postprocess = {} if return_tensors is None else {"return_tensors": return_tensors}
        return preprocess, {}, postprocess

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Extract the features of one video or several; see the class for what `inputs` may be.

        Args:
            inputs: One video or several.
            args: Ignored, with a warning.
            kwargs: Parameters named in the class's description, and `batch_size` (snippets at a time).

        Returns:
            `dict` for one video; `list[dict]` for a list; an iterator for a generator or data set.

        Raises:
            VideoDecodeError: If the one video cannot be read.
            ValueError: If a parameter is out of range.
        """
        if isinstance(inputs, (list, tuple)) and inputs and not _is_one_clip(inputs):
            return super().__call__(list(inputs), *args, **kwargs)
        if isinstance(inputs, (list, tuple)):
            if not inputs:
                return []
            inputs = np.stack([np.asarray(_to_rgb(frame)) for frame in inputs])
        if isinstance(inputs, (str, bytes, os.PathLike, np.ndarray, Tensor)) or hasattr(inputs, "read"):
            kwargs["raise_errors"] = True
        return super().__call__(inputs, *args, **kwargs)

    @property
    def _extractor(self) -> Any:
        return self.feature_extractor if self.feature_extractor is not None else self.image_processor

    def preprocess(  # type: ignore[override]  # the base class allows for any parameters
        self,
        video: Any,
        stride_frames: int | None = None,
        fps: float | None = None,
        padding: str | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        input_fps: float | None = None,
        timeout_s: float = 60.0,
        raise_errors: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Yield the snippets of one video, ready for the model."""
        extractor = self._extractor
        snippet_frames = int(
            getattr(extractor, "num_frames", 0) or getattr(self.model.config, "num_frames", 8)
        )
        stride_frames = int(stride_frames or getattr(extractor, "stride_frames", snippet_frames))
        fps = fps or getattr(extractor, "fps", None)
        padding = padding or getattr(extractor, "padding", "repeat")
        record = _Record(snippet_frames, stride_frames)
        waiting = None
        try:
            with _open(video, fps, start_s, end_s, input_fps, timeout_s) as frames:
                record.fps = float(fps or frames.metadata.fps)
                resized = (
                    _Resized(self._shrink(frame.image), frame.time_s) for frame in record.count(frames)
                )
                snippets = iter_snippets(
                    resized,
                    snippet_frames,
                    stride_frames,
                    frame_duration_s=1 / record.fps,
                    padding=cast(PaddingMode, padding),
                )
                for snippet in snippets:
                    if waiting is not None:
                        yield waiting
                    waiting = self._chunk(self._normalize(snippet.images), snippet.center_s)
                    record.duration_s = max(record.duration_s, snippet.end_s)
                record.complete, record.error = frames.report.complete, frames.report.reason
                if start_s == 0:
                    record.duration_s = max(record.duration_s, frames.report.duration_s)
        except (VideoDecodeError, OSError) as error:
            if raise_errors:
                raise
            logger.warning(f"{error}")
            waiting, record.error, record.complete = None, str(error), False
        if waiting is None:  # no row, but a pipeline needs one chunk of every input
            waiting = self._chunk(self._blank(snippet_frames), None)
        yield {**waiting, "is_last": True, "record": asdict(record)}

    @staticmethod
    def _chunk(pixel_values: Tensor, center_s: float | None) -> dict[str, Any]:
        return {"pixel_values": pixel_values, "center_s": center_s, "is_last": False, "record": None}

    def _shrink(self, image: np.ndarray) -> Any:
        if isinstance(self._extractor, BSPFeatureExtractor):
            return self._extractor.resize_and_crop(image[None])[0]
        return image

    def _normalize(self, images: tuple[Any, ...]) -> Tensor:
        """Make `pixel_values` of one snippet, `(1, num_frames, 3, height, width)`."""
        if isinstance(self._extractor, BSPFeatureExtractor):
            return self._extractor.normalize_pixels(torch.stack(images))[None]
        return self._extractor(list(images), return_tensors="pt")["pixel_values"].reshape(
            1, len(images), 3, *self._input_size()
        )

    def _input_size(self) -> tuple[int, int]:
        size = getattr(self._extractor, "crop_size", None) or self._extractor.size
        edge = size.get("shortest_edge") or 224
        return size.get("height") or edge, size.get("width") or edge

    def _blank(self, num_frames: int) -> Tensor:
        return torch.zeros(1, num_frames, 3, *self._input_size())

    def _forward(self, input_tensors: dict[str, Any], **forward_parameters: Any) -> Any:
        pixel_values = input_tensors.pop("pixel_values")
        output = self.model(pixel_values)
        features = output.get("pooler_output") if isinstance(output, ModelOutput) else None
        if features is None:  # video transformers give tokens: their mean is the snippet's feature
            features = output.last_hidden_state.mean(1)
        return {"features": features.float(), **input_tensors}

    def postprocess(  # type: ignore[override]  # a chunk pipeline gets the outputs of all chunks
        self, model_outputs: list[dict[str, Any]], return_tensors: bool = False
    ) -> dict[str, Any]:
        """Join the snippets of one video."""
        record = model_outputs[-1]["record"]
        rows = [output for output in model_outputs if output["center_s"] is not None]
        width = model_outputs[0]["features"].shape[-1]
        features = (
            torch.cat([row["features"].reshape(1, width) for row in rows]) if rows else torch.zeros(0, width)
        )
        centers_s = torch.tensor([row["center_s"] for row in rows], dtype=torch.float64)
        return {
            "features": features if return_tensors else features.numpy(),
            "centers_s": centers_s if return_tensors else centers_s.numpy(),
            **record,
            "encoder": self._encoder_record(),
        }

    def _encoder_record(self) -> dict[str, str]:
        if not hasattr(self, "_encoder"):
            self._encoder = describe_encoder(self.model, self._extractor)
        return dict(self._encoder)


@dataclass
class _Record:
    """What the result says beside the features."""

    snippet_frames: int
    stride_frames: int
    fps: float | None = None
    num_frames: int = 0
    duration_s: float = 0.0
    complete: bool = False
    error: str | None = None

    def count(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Pass frames on and count them."""
        for frame in frames:
            self.num_frames += 1
            yield frame


class _Resized:
    """A frame that has been through the spatial preprocessing."""

    __slots__ = ("image", "time_s")

    def __init__(self, image: Any, time_s: float):
        self.image, self.time_s = image, time_s


class _FramesInMemory:
    """Stands in for a `VideoReader` where the frames are already decoded."""

    def __init__(
        self, frames: np.ndarray, fps: float, target_fps: float | None, start_s: float, end_s: float | None
    ):
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
            raise ValueError(
                "frames must be uint8 of shape (num_frames, height, width, 3), "
                f"got {frames.dtype} {frames.shape}."
            )
        if target_fps is not None and target_fps != fps:
            raise ValueError(
                f"frames in memory at {fps} frames a second cannot be resampled to fps={target_fps}; "
                "resample them first, or pass the file."
            )
        self.fps = fps
        self.frames = frames
        self.first = int(np.ceil(start_s * fps))
        self.last = len(frames) if end_s is None else min(len(frames), int(np.ceil(end_s * fps)))
        self.metadata = self
        self.report = self
        self.complete, self.reason = True, None
        self.duration_s = len(frames) / fps

    def __enter__(self) -> "_FramesInMemory":
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self.first, self.last):
            yield Frame(self.frames[index], index / self.fps, index)


def _open(
    video: Any,
    fps: float | None,
    start_s: float,
    end_s: float | None,
    input_fps: float | None,
    timeout_s: float,
) -> Any:
    if isinstance(video, dict) and set(video) >= {"bytes", "path"}:  # a `datasets` video that was not decoded
        video = video["bytes"] if video["bytes"] is not None else video["path"]
    if isinstance(video, (list, tuple)):
        video = np.stack([np.asarray(_to_rgb(frame)) for frame in video])
    if isinstance(video, Tensor):
        video = video.numpy()
    if isinstance(video, np.ndarray):
        if not input_fps:
            raise ValueError("frames in memory carry no rate: pass input_fps=, their frames per second.")
        return _FramesInMemory(video, float(input_fps), fps, start_s, end_s)
    if input_fps:
        raise ValueError(
            "input_fps= is for frames in memory; a file says its own rate. To resample, pass fps=."
        )
    return VideoReader(video, fps=fps, start_s=start_s, end_s=end_s, timeout_s=timeout_s)


def _to_rgb(frame: Any) -> Any:
    return frame.convert("RGB") if hasattr(frame, "convert") else frame


def _is_one_clip(inputs: Any) -> bool:
    first = inputs[0]
    return hasattr(first, "convert") or (isinstance(first, (np.ndarray, Tensor)) and first.ndim == 3)


__all__ = ["VideoFeatureExtractionPipeline"]
