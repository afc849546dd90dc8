"""One video to the snippets that an encoder takes, and clips to features: what every extractor shares."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .frames_in_memory import FramesInMemory
from .modeling_fusion import pooled_features
from .snippets import Snippet, iter_snippets
from .video import VideoReader
from .video_records import Frame
from .video_source import VideoDecodeError

_DEFAULT_SNIPPET_FRAMES = 8
_DEFAULT_EDGE_PIXELS = 224


class VideoSnippets:
    """The snippets of one video in order, and a record of what came of reading it. Iterate over it once.

    A file is opened when the iteration begins and closed when it ends or is closed. At most one snippet and
    one frame are held. Each frame is decoded and resized once, however many snippets it lies in. What ends
    the iteration early is raised by it, a `VideoDecodeError` or an `OSError`, and noted in the record.

    The parameters are those of the feature pipeline. What is not given is what `extractor` says, a
    `BSPFeatureExtractor` or the image processor of another model; else snippets lie side by side at the
    video's rate, the last one is padded, and the model's `config` says how many frames one has. `watch` is
    called with each frame at its full size and its second.
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
        watch: Callable[[Any, float], object] | None = None,
    ) -> None:
        self._video = video
        self._watch = watch
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
        self._start_s, self._end_s = start_s, end_s
        self._input_fps = input_fps
        self._timeout_s = timeout_s
        self._frames: VideoReader | FramesInMemory | None = None
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

    @property
    def waiting_since_s(self) -> float | None:
        """When the last frame came, by `time.monotonic`; None for a file that is still being opened."""
        return getattr(self._frames, "waiting_since_s", None)

    def __iter__(self) -> Iterator[Snippet]:
        record = self.record
        try:
            with self._open() as frames:
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
            record["error"] = str(error)
            raise

    def _open(self) -> VideoReader | FramesInMemory:
        video, input_fps = self._video, self._input_fps
        if isinstance(video, dict) and {"bytes", "path"} <= set(video):
            video = video["bytes"] if video["bytes"] is not None else video["path"]
        part: dict[str, Any] = {"fps": self._fps, "start_s": self._start_s, "end_s": self._end_s}
        if isinstance(video, (list, tuple, np.ndarray, Tensor)):
            if input_fps is None:
                raise ValueError("Frames in memory carry no rate: pass input_fps=, their frames per second.")
            return FramesInMemory(video, input_fps, **part)
        if input_fps is not None:
            raise ValueError(
                "input_fps= is for frames in memory; a file says its own rate. To resample, pass fps=."
            )
        return VideoReader(video, timeout_s=self._timeout_s, **part)

    def _shrink(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Count the frames and, where the preprocessing has two steps, do the first: a snippet is held."""
        for frame in frames:
            # Frames between two windows are in none.
            is_used = self.record["num_frames"] % self.stride_frames < self.snippet_frames
            self.record["num_frames"] += 1
            if self._watch is not None:
                self._watch(frame.image, frame.time_s)
            image = shrink_image(self._extractor, frame.image) if is_used else None
            yield Frame(image, frame.time_s, frame.index)  # type: ignore[arg-type]  # a tensor from here on


def shrink_image(extractor: Any, image: Any) -> Any:  # Any: see VideoSnippets; an array or a tensor
    """Resize and crop one uint8 `(height, width, 3)` frame to uint8 `(3, crop_height, crop_width)`.

    Where the extractor is another model's, which does all of its work at once, return the frame as it is.
    """
    # By name, not by class: code from a checkpoint and code of the package have different classes.
    resize_and_crop = getattr(extractor, "resize_and_crop", None)
    return image if resize_and_crop is None else resize_and_crop(image[None])[0]


def to_pixel_values(
    extractor: Any, clips: Sequence[Sequence[Any]], device: Any = None
) -> Tensor:  # Any: as above
    """Make the input of the network of the frames of snippets, as [`shrink_image`] gives them.

    Returns float32 `(len(clips), num_frames, 3, height, width)`, each frame with channels last.
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
    """Make the input of the network of one snippet of black frames, for its shape."""
    sizes = (getattr(extractor, name, None) for name in ("size", "crop_size"))
    edges = [edge for size in sizes for edge in dict(size or {}).values()]
    edge = max(edges, default=_DEFAULT_EDGE_PIXELS)
    black = shrink_image(extractor, np.zeros((edge, edge, 3), np.uint8))
    return to_pixel_values(extractor, [(black,) * num_frames])


def encode_clips(
    model: Any, pixel_values: Tensor
) -> Tensor:  # Any: mypy takes a module's attributes for tensors
    """Run the encoder of a video model on clips that lie on its device.

    Returns float32 `(batch, dim)`: its pooled output, or the mean of its tokens where it has none.
    """
    encoder = model.base_model
    output = encoder(**{str(encoder.main_input_name): pixel_values.to(model.dtype)}, return_dict=True)
    return pooled_features(output).float()


def _first_given(*values: Any) -> Any:
    """Return the first value that is not None; a 0 is given, and refused later."""
    return next((value for value in values if value is not None), None)
