"""`pipeline("video-feature-extraction")`: videos of any length in, their snippet features and times out."""

import os
from collections.abc import Callable, Iterator, Sequence
from types import GeneratorType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers.pipelines.base import ChunkPipeline
from transformers.utils import logging

from .frames_in_memory import is_frame
from .provenance import describe_encoder
from .thread_pool import map_in_threads
from .video_snippets import VideoSnippets, blank_pixel_values, encode_clips, to_pixel_values
from .video_source import VideoDecodeError

logger = logging.get_logger(__name__)

_PREPROCESS_PARAMETERS = (
    "stride_frames",
    "fps",
    "padding",
    "start_s",
    "end_s",
    "input_fps",
    "timeout_s",
    "progress",
)
# That a thread takes at a time, as the extraction engine does.
_FEWEST_SNIPPETS = 2


class VideoFeatureExtractionPipeline(ChunkPipeline):
    """Extract snippet features of videos, streaming: memory does not grow with the length of a video.

    Call it with a path, an open binary file, bytes, a uint8 array or tensor `(num_frames, height, width, 3)`,
    a list of PIL images or frames, or a list, generator or `KeyDataset` of these (of paths, of files, of
    arrays, or of the dicts that a `datasets` column of videos that are not decoded holds). Parameters of the
    call, or of `pipeline(...)` to hold for every call:

    - `stride_frames` (`int`): Frames between the starts of two snippets; by default what the checkpoint says.
    - `fps` (`float`): Rate that the video is resampled to; by default what the checkpoint says.
    - `padding` (`str`): `"repeat"` keeps a last snippet that is not full and repeats its last frame, `"drop"`
      drops it.
    - `start_s`, `end_s` (`float`): Part of the video, in seconds.
    - `input_fps` (`float`): Rate of frames that are already in memory; needed for these, refused for files.
    - `timeout_s` (`float`): Seconds after which a file that gives nothing is abandoned; 60 by default.
    - `progress` (`Callable`): Called with the second of the video that was reached, after every snippet.
    - `return_tensors` (`bool`): Features and times as torch tensors instead of numpy arrays.
    - `batch_size` (`int`): Snippets that go through the model together, of one video or several.
    - `num_workers` (`int`): 1 decodes in another process, beside the model.

    The result of one video is a dict:

    - `features`: float32 `(num_snippets, dim)`, `centers_s`: float64 `(num_snippets,)`, ascending.
    - `fps` (`float`, or `None` where the file did not open), `snippet_frames` and `stride_frames` (`int`):
      the grid on which the snippets lie.
    - `num_frames` (`int`): Frames that were cut into snippets, at `fps` and between `start_s` and `end_s`.
    - `duration_s` (`float`): From second 0 of the video to the end of what was read.
    - `encoder` (`dict`): id, revision, settings hash and dtype.
    - `complete` (`bool` or `"unknown"`): Whether all that was asked for could be read, as in `VideoReport`;
      `error` (`str` or `None`): why not.

    One video that cannot be read raises [`VideoDecodeError`] or `OSError`. In a list it does not stop the
    others: its result has the rows that could be made, often none, and says why in `error`.

    Any video model of transformers that takes `pixel_values` runs as well, with its own image processor; its
    feature is its pooled output, or the mean of its tokens.
    """

    # Any: transformers declares these None, and reads False as "never" and None as "if there is one".
    _load_tokenizer: Any = False
    _load_processor: Any = False
    _load_feature_extractor: Any = None
    _load_image_processor: Any = None
    _load_video_processor: Any = None
    # Set by the installed package: returns a faster copy of a model for the CPU, given the preprocessing.
    speed_up: ClassVar[Callable[[Any, Any], Any] | None] = None
    _fast: Any = None  # Any: that copy
    _fast_of: Any = None  # Any: which weights it has

    def _sanitize_parameters(
        self, return_tensors: bool | None = None, keep_failure: bool | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        unknown = set(kwargs) - set(_PREPROCESS_PARAMETERS)
        if unknown:
            raise TypeError(
                f"video-feature-extraction has no parameter {', '.join(sorted(unknown))}; it takes "
                f"{', '.join((*_PREPROCESS_PARAMETERS, 'return_tensors', 'batch_size', 'num_workers'))}."
            )
        preprocess = {key: value for key, value in kwargs.items() if value is not None}
        postprocess = {"return_tensors": return_tensors, "keep_failure": keep_failure}
        return preprocess, {}, {key: value for key, value in postprocess.items() if value is not None}

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # no positional ones
        """Extract the features of one video or several; see the class for what `inputs` may be.

        Args:
            inputs: One video or several.
            kwargs: Parameters named in the class's description.

        Returns:
            `dict` for one video; `list[dict]` for a list; an iterator for a generator or data set.

        Raises:
            VideoDecodeError: If the one video cannot be read.
            OSError: If the one video is not there or may not be read.
            ValueError: If a parameter is out of range.
            TypeError: If the input is nothing that holds a video.
        """
        if is_several_videos(inputs):
            return super().__call__(list(inputs), **kwargs) if len(inputs) else []
        if isinstance(inputs, (GeneratorType, Dataset)):
            return super().__call__(inputs, **kwargs)
        # As a list, and raised here: raised inside, it would leave a decoding process waiting for seconds.
        (result,) = super().__call__([inputs], keep_failure=True, **kwargs)
        failure = result.pop("failure")
        if failure is not None:
            raise failure
        return result

    def get_iterator(
        self,
        inputs: Any,  # Any: as of the parent
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Any:
        """Return the results of videos; on a CPU of threads that compute on one core each.

        None of them waits for another, where the threads of one convolution do: for the slowest, on a busy
        machine.
        """
        self._follow_model()
        num_threads = torch.get_num_threads() if self.device.type == "cpu" and not num_workers else 1
        if num_threads == 1:
            return super().get_iterator(
                inputs, num_workers, batch_size, preprocess_params, forward_params, postprocess_params
            )

        def run(video: Any) -> dict[str, Any]:
            chunks = self.preprocess(video, **preprocess_params)
            share = max(_FEWEST_SNIPPETS, -(-batch_size // num_threads))
            rows = map_in_threads(chunks, self._forward_chunks, num_threads=num_threads, batch_size=share)
            return self.postprocess(list(rows), **postprocess_params)

        return map(run, inputs)

    def _forward_chunks(self, chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        pixel_values = torch.cat([chunk.pop("pixel_values") for chunk in chunks])
        features = self.forward({"pixel_values": pixel_values})["features"]
        return [{**chunk, "features": row} for chunk, row in zip(chunks, features, strict=True)]

    @property
    def _extractor(self) -> Any:  # Any: ours, or the image processor of another model
        extractor = self.feature_extractor if self.feature_extractor is not None else self.image_processor
        if extractor is None:
            raise ValueError(
                f"{self.model.name_or_path or type(self.model).__name__} has no preprocessing beside it; "
                "pass feature_extractor=BSPFeatureExtractor(...) or image_processor=."
            )
        return extractor

    def preprocess(  # type: ignore[override]  # the parameters by name
        self,
        video: Any,
        stride_frames: int | None = None,
        fps: float | None = None,
        padding: Any = None,  # Any: a PaddingMode, checked where it is used
        start_s: float = 0.0,
        end_s: float | None = None,
        input_fps: float | None = None,
        timeout_s: float = 60.0,
        progress: Callable[[float], object] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the snippets of one video, ready for the model; the last brings the record of the video."""
        extractor = self._extractor
        snippets = VideoSnippets(
            video,
            extractor,
            self.model.config,
            stride_frames=stride_frames,
            fps=fps,
            padding=padding,
            start_s=start_s,
            end_s=end_s,
            input_fps=input_fps,
            timeout_s=timeout_s,
        )
        waiting = failure = None
        try:
            for snippet in snippets:
                if waiting is not None:
                    yield waiting
                if progress is not None:
                    progress(snippet.center_s)
                waiting = _chunk(to_pixel_values(extractor, [snippet.images]), snippet.center_s)
        except (VideoDecodeError, OSError) as error:
            failure = (
                error  # travels with the last chunk: the rows before it are good, and so are other videos
            )
        if waiting is None:
            # A pipeline needs one chunk of every video, also of one that has no snippet.
            waiting = _chunk(blank_pixel_values(extractor, snippets.snippet_frames), None)
        name = str(video) if isinstance(video, (str, os.PathLike)) else "the video"
        yield {**waiting, "is_last": True, "record": {**snippets.record, "name": name}, "failure": failure}

    def _forward(  # type: ignore[override]  # a dict, as every ChunkPipeline
        self, model_inputs: dict[str, Any]
    ) -> dict[str, Any]:
        features = encode_clips(self._fast or self.model, model_inputs.pop("pixel_values"))
        return {"features": features, **model_inputs}

    def _follow_model(self) -> None:
        """Prepare the model anew where it was trained further, cast or moved."""
        weights = [*self.model.parameters(), *self.model.buffers()]
        state: list[Any] = [type(self).speed_up, self.device]
        state += [(weight.data_ptr(), 0 if weight.is_inference() else weight._version) for weight in weights]
        if self._fast_of != state:
            self._fast, self._fast_of = self._prepare(), state

    def __getstate__(self) -> dict[str, Any]:
        # The fast form is of this process: oneDNN's layout of the weights cannot be pickled.
        return {**self.__dict__, "_fast": None, "_fast_of": None}

    def _prepare(self) -> Any:  # Any: as `_fast`
        """Return a copy of the model in its fast form, `None` where it runs as it is."""
        speed_up = type(self).speed_up
        if speed_up is None or self.device.type != "cpu":
            return None
        return speed_up(self.model, self._extractor)

    def postprocess(  # type: ignore[override]  # the parameters by name
        self,
        model_outputs: list[dict[str, Any]],
        return_tensors: bool = False,
        keep_failure: bool = False,
    ) -> dict[str, Any]:
        """Join the snippets of one video; with `keep_failure` the exception or None is in it too."""
        record, failure = dict(model_outputs[-1]["record"]), model_outputs[-1]["failure"]
        name = record.pop("name")
        rows = [output for output in model_outputs if output["center_s"] is not None]
        wrong = [row["center_s"] for row in rows if not row["features"].isfinite().all()]
        if wrong:
            failure = ValueError(
                f"{name}: {len(wrong)} of {len(rows)} rows that the model gave are not finite, the first at "
                f"{wrong[0]:.2f} s; check its weights, or run it in float32."
            )
            record |= {"complete": False, "error": str(failure)}
            rows = []
        if failure is not None and not keep_failure:
            logger.warning(f"{failure}")
        width = model_outputs[0]["features"].shape[-1]
        blank = torch.zeros(0, width)
        features = torch.cat([row["features"].reshape(1, width) for row in rows]) if rows else blank
        centers_s = torch.tensor([row["center_s"] for row in rows], dtype=torch.float64)
        result = {
            "features": features if return_tensors else features.numpy(),
            "centers_s": centers_s if return_tensors else centers_s.numpy(),
            **record,
        }
        outcome = {"complete": result.pop("complete"), "error": result.pop("error")}
        if keep_failure:
            outcome["failure"] = failure
        return {**result, "encoder": describe_encoder(self.model, self._extractor), **outcome}


def is_several_videos(inputs: Any) -> bool:
    """Return whether pipeline inputs are a list of videos, and not the frames of one."""
    if not isinstance(inputs, Sequence) or isinstance(inputs, (str, bytes, bytearray, memoryview)):
        return False
    return not (len(inputs) and is_frame(inputs[0]))


def _chunk(pixel_values: Tensor, center_s: float | None) -> dict[str, Any]:
    return {
        "pixel_values": pixel_values,
        "center_s": center_s,
        "is_last": False,
        "record": None,
        "failure": None,
    }
