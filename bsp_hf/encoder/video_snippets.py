"""One video to the snippets that an encoder takes, and clips to features: what every extractor shares."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .frames_in_memory import FramesInMemory
from .snippets import Snippet, iter_snippets
from .video import VideoReader
from .video_reader import Frame
from .video_source import VideoDecodeError

_DEFAULT_SNIPPET_FRAMES = 8
_DEFAULT_EDGE_PIXELS = 224


class VideoSnippets:
    """The snippets of one video in order, and what came of reading it. Iterate over it once.

    A file is opened when the iteration begins and closed when it ends or is closed. At most one snippet and
    one frame are held. Each frame is decoded and resized once, however many snippets it lies in.

    Args:
        video: What a pipeline takes: a path, an open binary file, bytes, frames in memory.
        extractor: A `BSPFeatureExtractor`, or the image processor of another model.
        config: Configuration of the model; says how many frames a snippet has where `extractor` does not.
        stride_frames (`int`, *optional*): Frames from the start of a snippet to that of the next; by default
            what `extractor` says, else the length of a snippet.
        fps (`float`, *optional*): Rate to resample to; by default what `extractor` says, else the video's.
        padding (`str`, *optional*): `"repeat"` or `"drop"`; by default what `extractor` says, else
            `"repeat"`.
        start_s (`float`, *optional*, defaults to 0.0): First second.
        end_s (`float`, *optional*): End in seconds, exclusive.
        input_fps (`float`, *optional*): Rate of frames in memory; needed for these, refused for files.
        timeout_s (`float`, *optional*, defaults to 60.0): Seconds that one frame may take.
    """

    # Any: ours or another model's; files and frames in memory; a PaddingMode, checked where it is used
    def __init__(
        self,
        video: Any,
        extractor: Any,
        config: Any,
        *,
        stride_frames: int | None = None,
        fps: float | None = None,
        padding: Any = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        input_fps: float | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        self._extractor = extractor
        self.snippet_frames: int = _first_given(
            getattr(extractor, "num_frames", None),
            getattr(config, "num_frames", None),
            _DEFAULT_SNIPPET_FRAMES,
        )
        """`int`: Frames of a snippet."""
        self.stride_frames: int = _first_given(
            stride_frames, getattr(extractor, "stride_frames", None), self.snippet_frames
        )
        """`int`: Frames from the start of a snippet to that of the next."""
        self._fps = _first_given(fps, getattr(extractor, "fps", None))
        self._padding = _first_given(padding, getattr(extractor, "padding", None), "repeat")
        self._source = (video, self._fps, start_s, end_s, input_fps, timeout_s)
        self._end_s = end_s
        self._frames: Any = None
        self.record: dict[str, Any] = {
            "fps": None,
            "snippet_frames": self.snippet_frames,
            "stride_frames": self.stride_frames,
            "num_frames": 0,
            "duration_s": 0.0,
            "complete": False,
            "error": None,
        }
        """`dict`: What a result says of its video, in the pipeline's names; final when the iteration ends."""
        self.failure: VideoDecodeError | OSError | None = None
        """`VideoDecodeError` or `OSError`: What ended the iteration early; the caller's to raise or keep."""

    @property
    def waiting_since_s(self) -> float | None:
        """When the last frame came, by `time.monotonic`; None for a file that is still being opened."""
        return getattr(self._frames, "waiting_since_s", None)

    def __iter__(self) -> Iterator[Snippet]:
        record = self.record
        try:
            with _open(*self._source) as frames:
                self._frames = frames
                own_fps = frames.fps if isinstance(frames, FramesInMemory) else frames.metadata.fps
                record["fps"] = float(_first_given(self._fps, own_fps))
                for snippet in iter_snippets(
                    self._shrink(frames),
                    self.snippet_frames,
                    self.stride_frames,
                    frame_duration_s=1 / record["fps"],
                    padding=self._padding,
                ):
                    record["duration_s"] = snippet.end_s
                    yield snippet
                report = frames.report
                last_s = report.duration_s
                record["duration_s"] = last_s if self._end_s is None else min(last_s, self._end_s)
                record["complete"], record["error"] = report.complete, report.reason
        except (VideoDecodeError, OSError) as error:
            self.failure, record["error"] = error, str(error)

    def _shrink(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Count the frames and, where the preprocessing has two steps, do the first: a snippet is held."""
        for frame in frames:
            # Frames between two windows are in none.
            is_used = self.record["num_frames"] % self.stride_frames < self.snippet_frames
            self.record["num_frames"] += 1
            image = shrink_image(self._extractor, frame.image) if is_used else None
            yield Frame(image, frame.time_s, frame.index)  # type: ignore[arg-type]  # a tensor from here on


def shrink_image(extractor: Any, image: Any) -> Any:  # Any: see VideoSnippets; an array or a tensor
    """Bring one frame to the size that the network takes, where the preprocessing does that by itself.

    Args:
        extractor: See [`VideoSnippets`].
        image (`np.ndarray`): uint8 `(height, width, 3)`.

    Returns:
        `torch.Tensor`: uint8 `(3, crop_height, crop_width)`; `image` itself where `extractor` is another
            model's.
    """
    # By name, not by class: code from a checkpoint and code of the package have different classes.
    resize_and_crop = getattr(extractor, "resize_and_crop", None)
    return image if resize_and_crop is None else resize_and_crop(image[None])[0]


def to_pixel_values(
    extractor: Any, clips: Sequence[Sequence[Any]], device: Any = None
) -> Tensor:  # Any: as above
    """Make the input of the network from the frames of snippets.

    Args:
        extractor: See [`VideoSnippets`].
        clips (`Sequence`): The frames of each snippet, as [`shrink_image`] gives them.
        device (`torch.device`, *optional*): Where to; by default the CPU.

    Returns:
        `torch.Tensor`: float32 `(len(clips), num_frames, 3, height, width)`, each frame with channels last.
    """
    if hasattr(extractor, "normalize_pixels"):
        # In one stack of frames, because a stack of clips would lose the memory format.
        pixels = torch.stack([image for clip in clips for image in clip])
        return extractor.normalize_pixels(_move(pixels, device)).unflatten(0, (len(clips), -1))
    each = [extractor(list(clip), return_tensors="pt")["pixel_values"] for clip in clips]
    # An image processor takes the frames for a batch, one for videos for a clip.
    return _move(torch.cat([clip[None] if clip.ndim == 4 else clip for clip in each]), device)


def _move(pixels: Tensor, device: Any) -> Tensor:  # Any: None, or what torch takes for a device
    if device is None or torch.device(device).type == "cpu":
        return pixels
    # From pinned memory the copy runs beside the computation.
    pixels = pixels.pin_memory() if torch.device(device).type == "cuda" else pixels
    return pixels.to(device, non_blocking=True)


def blank_pixel_values(extractor: Any, num_frames: int) -> Tensor:  # Any: see VideoSnippets
    """Make the input of the network from black frames, for its shape.

    Args:
        extractor: See [`VideoSnippets`].
        num_frames (`int`): Frames of a snippet.

    Returns:
        `torch.Tensor`: float32 `(1, num_frames, 3, height, width)`, of the usual size.
    """
    sizes = (getattr(extractor, name, None) for name in ("size", "crop_size"))
    edges = [edge for size in sizes for edge in dict(size or {}).values()]
    edge = max(edges, default=_DEFAULT_EDGE_PIXELS)
    black = shrink_image(extractor, np.zeros((edge, edge, 3), np.uint8))
    return to_pixel_values(extractor, [(black,) * num_frames])


def encode_clips(
    model: Any, pixel_values: Tensor
) -> Tensor:  # Any: mypy takes a module's attributes for tensors
    """Run an encoder: its pooled output, or the mean of its tokens where it has none.

    Args:
        model (`PreTrainedModel`): Any video model of transformers that takes `pixel_values`; a head, if there
            is one, is left out.
        pixel_values (`torch.Tensor`): `(batch, num_frames, 3, height, width)`, on the model's device.

    Returns:
        `torch.Tensor`: float32 `(batch, dim)`.
    """
    encoder = model.base_model
    output = encoder(**{str(encoder.main_input_name): pixel_values.to(model.dtype)}, return_dict=True)
    features = output.get("pooler_output")
    if features is None:
        features = output.last_hidden_state.mean(1)
    return features.float()


def _open(
    video: Any,
    fps: float | None,
    start_s: float,
    end_s: float | None,
    input_fps: float | None,
    timeout_s: float,
) -> AbstractContextManager[Any]:  # Any: a VideoReader or FramesInMemory
    if isinstance(video, dict) and {"bytes", "path"} <= set(video):
        video = video["bytes"] if video["bytes"] is not None else video["path"]
    if isinstance(video, (list, tuple, np.ndarray, Tensor)):
        if input_fps is None:
            raise ValueError("Frames in memory carry no rate: pass input_fps=, their frames per second.")
        return FramesInMemory(video, input_fps, fps, start_s, end_s)
    if input_fps is not None:
        raise ValueError(
            "input_fps= is for frames in memory; a file says its own rate. To resample, pass fps=."
        )
    return VideoReader(video, fps=fps, start_s=start_s, end_s=end_s, timeout_s=timeout_s)


def _first_given(*values: Any) -> Any:
    """Return the first value that is not None; a 0 is given, and refused later."""
    return next((value for value in values if value is not None), None)
