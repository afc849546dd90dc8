"""Frames to network input: resize, centre crop, scale, normalise; and the snippet settings beside them."""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from math import isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor, get_size_dict

from .frame_times import exact_rate
from .frames_in_memory import is_frame, stack_frames
from .video import VideoReader

PADDING_MODES = ("repeat", "drop")
_MOST = 10_000  # frames of a snippet, pixels of a side

# Of pictures that are longer, only the middle is resized: 4096 x 1 pixels would become 268 million.
_MOST_ASPECT = 32
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class BSPFeatureExtractor(BaseImageProcessor):
    """Turn uint8 RGB frames into `pixel_values`, exactly as the encoder was trained to see them.

    The short side is resized with antialiased bilinear interpolation in 8 bit (equal to Pillow's to 1 of 255,
    and to 0.002 on average), the centre is cropped, and the result is scaled and normalised. Everything here
    changes the value of a feature and is therefore saved beside the weights.

    Args:
        size (`dict` or `int`, *optional*, defaults to `{"shortest_edge": 256}`):
            Pixels of the short side after resizing; the long side is rounded down.
        crop_size (`dict`, `int` or `tuple`, *optional*, defaults to `{"height": 224, "width": 224}`):
            Size of the centre crop; one number for both sides.
        do_resize (`bool`, *optional*, defaults to `True`): Resize the short side.
        do_center_crop (`bool`, *optional*, defaults to `True`): Crop the centre.
        do_rescale (`bool`, *optional*, defaults to `True`): Multiply by `rescale_factor`.
        rescale_factor (`float`, *optional*, defaults to 1 / 255): Maps 0..255 to 0..1.
        do_normalize (`bool`, *optional*, defaults to `True`): Subtract the mean, divide by the deviation.
        image_mean (`list[float]` or `float`, *optional*, defaults to ImageNet's): Mean of each RGB channel,
            in 0..1; one number for all.
        image_std (`list[float]` or `float`, *optional*, defaults to ImageNet's): Deviation of each channel.
        num_frames (`int`, *optional*, defaults to 8): Frames of a snippet (Sec. 4.1).
        stride_frames (`int`, *optional*):
            Frames from the start of a snippet to that of the next; `None` means `num_frames`, the paper's
            non-overlapping snippets.
        fps (`float`, *optional*):
            Frame rate that a video is resampled to before it is cut into snippets; `None` keeps its own.
        padding (`str`, *optional*, defaults to `"repeat"`):
            `"repeat"` keeps a last snippet that is not full and repeats its last frame; `"drop"` drops it.

    Raises:
        ValueError: If a setting is out of range.

    Example:
    ```python
    >>> import numpy as np
    >>> from bsp_hf import BSPFeatureExtractor
    >>> extractor = BSPFeatureExtractor()
    >>> extractor(np.zeros((8, 240, 320, 3), np.uint8), return_tensors="pt").pixel_values.shape
    torch.Size([1, 8, 3, 224, 224])
    ```
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012  # declared so above us

    def __init__(
        self,
        size: Mapping[str, int] | int | None = None,
        crop_size: Mapping[str, int] | int | Sequence[int] | None = None,
        do_resize: bool = True,
        do_center_crop: bool = True,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        do_normalize: bool = True,
        image_mean: Sequence[float] | float | None = None,
        image_std: Sequence[float] | float | None = None,
        num_frames: int = 8,
        stride_frames: int | None = None,
        fps: float | None = None,
        padding: str = "repeat",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.size = _to_size(256 if size is None else size, default_to_square=False)
        self.crop_size = _to_size(224 if crop_size is None else crop_size)
        self.do_resize = do_resize
        self.do_center_crop = do_center_crop
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.do_normalize = do_normalize
        self.image_mean = _to_channels(_IMAGENET_MEAN if image_mean is None else image_mean)
        self.image_std = _to_channels(_IMAGENET_STD if image_std is None else image_std)
        self.num_frames = num_frames
        self.stride_frames = num_frames if stride_frames is None else stride_frames
        self.fps = fps
        self.padding = padding
        self._check()

    def _check(self) -> None:
        numbers: dict[str, Any] = {"num_frames": self.num_frames, "stride_frames": self.stride_frames}
        for name, value in {**numbers, **self.size, **self.crop_size}.items():
            # Anything larger fills the memory before the first frame comes.
            if isinstance(value, bool) or not isinstance(value, Integral) or int(value) > _MOST:
                raise ValueError(f"{name}={value!r} must be a whole number of at most {_MOST}.")
        for name in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}={getattr(self, name)!r} must be true or false.")
        for name, value in {
            "fps": 1 if self.fps is None else self.fps,
            "rescale_factor": self.rescale_factor,
            **{f"image_mean[{channel}]": value for channel, value in enumerate(self.image_mean)},
            **{f"image_std[{channel}]": value for channel, value in enumerate(self.image_std)},
        }.items():
            if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value):
                raise ValueError(f"{name}={value!r} must be a finite number.")
        if 0 in self.image_std:
            raise ValueError(f"image_std={self.image_std} must not hold 0.")
        if set(self.size) != {"shortest_edge"} or self.size["shortest_edge"] < 1:
            raise ValueError(f'size={self.size} must be {{"shortest_edge": pixels}} with at least 1 pixel.')
        if set(self.crop_size) != {"height", "width"} or min(self.crop_size.values()) < 1:
            raise ValueError(f'crop_size={self.crop_size} must be {{"height": pixels, "width": pixels}}.')
        if (
            self.do_resize
            and self.do_center_crop
            and max(self.crop_size.values()) > self.size["shortest_edge"]
        ):
            raise ValueError(
                f"crop_size={self.crop_size} is larger than the resized short side "
                f"{self.size['shortest_edge']}."
            )
        for name in ("image_mean", "image_std"):
            if len(getattr(self, name)) != 3:
                raise ValueError(f"{name}={getattr(self, name)} must be one number, or one a channel.")
        if self.num_frames < 1 or self.stride_frames < 1:
            raise ValueError(
                f"num_frames={self.num_frames} and stride_frames={self.stride_frames} must be at least 1."
            )
        if self.fps is not None and self.fps <= 0:
            raise ValueError(f"fps={self.fps} must be positive; leave it out to keep the video's own.")
        if self.fps is not None:
            exact_rate(self.fps)
        if self.padding not in PADDING_MODES:
            raise ValueError(f"padding={self.padding!r} is not one of {', '.join(PADDING_MODES)}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as they are saved in `preprocessor_config.json`."""
        output = super().to_dict()
        # AutoFeatureExtractor and the stock video-classification pipeline each look for their own key.
        output["feature_extractor_type"] = type(self).__name__
        return output

    def resize_and_crop(self, frames: np.ndarray | Tensor) -> Tensor:
        """Resize the short side and crop the centre, in 8 bit.

        Args:
            frames (`np.ndarray` or `torch.Tensor`): uint8 `(num_frames, height, width, 3)`, RGB, on the CPU.
                Not modified.

        Returns:
            `torch.Tensor`: uint8 `(num_frames, 3, crop_height, crop_width)`, stored with channels last. It
            may share the memory of `frames`.

        Raises:
            ValueError: If the frames are smaller than the crop.
        """
        if isinstance(frames, np.ndarray) and not (frames.flags.writeable and frames.flags.c_contiguous):
            # torch takes no memory that runs backwards, and warns of memory that is read-only.
            frames = frames.copy()
        pixels = torch.as_tensor(frames).permute(0, 3, 1, 2)
        if self.do_resize and self.do_center_crop:
            pixels = self._cut_thin(pixels)
        if self.do_resize:
            height, width = pixels.shape[-2:]
            short_side = self.size["shortest_edge"]
            if height <= width:
                target = (short_side, int(short_side * width / height))
            else:
                target = (int(short_side * height / width), short_side)
            if target != (height, width):
                pixels = F.interpolate(pixels, size=target, mode="bilinear", antialias=True)
        if self.do_center_crop:
            pixels = self._center_crop(pixels)
        return pixels

    def _cut_thin(self, pixels: Tensor) -> Tensor:
        """Cut off the ends of very long, thin pictures, which would be enlarged a lot and then cropped."""
        height, width = pixels.shape[-2:]
        longest = min(height, width) * _MOST_ASPECT
        needed = max(self.crop_size["height"], self.crop_size["width"])
        if max(height, width) <= longest or needed > self.size["shortest_edge"] * _MOST_ASPECT / 2:
            return pixels
        top, left = max(height - longest, 0) // 2, max(width - longest, 0) // 2
        return pixels[..., top : height - top, left : width - left]

    def _center_crop(self, pixels: Tensor) -> Tensor:
        height, width = pixels.shape[-2:]
        crop_height, crop_width = self.crop_size["height"], self.crop_size["width"]
        if height < crop_height or width < crop_width:
            raise ValueError(
                f"frames of {width}x{height} pixels are smaller than the crop {crop_width}x{crop_height}; "
                "set do_resize=True or a smaller crop_size."
            )
        top, left = round((height - crop_height) / 2), round((width - crop_width) / 2)
        return pixels[..., top : top + crop_height, left : left + crop_width]

    def normalize_pixels(self, pixels: Tensor) -> Tensor:
        """Scale and normalise 8-bit pixels.

        Args:
            pixels (`torch.Tensor`): uint8 `(..., 3, height, width)`.

        Returns:
            `torch.Tensor`: float32 of the same shape and memory format.
        """
        # In place: fresh memory for every step would cost a training more than decoding its clips.
        normalized = pixels.to(torch.float32, copy=True)
        if self.do_rescale:
            normalized *= self.rescale_factor
        if self.do_normalize:
            shape = (3, 1, 1)
            normalized -= torch.tensor(self.image_mean, device=pixels.device).view(shape)
            normalized /= torch.tensor(self.image_std, device=pixels.device).view(shape)
        return normalized

    def preprocess(self, videos: Any, return_tensors: str | None = None, **options: Any) -> BatchFeature:
        """Preprocess one clip or several.

        Args:
            videos: A clip or a list of clips. A clip is a uint8 array or tensor `(num_frames, height, width,
                3)`, or a list of PIL images or `(height, width, 3)` arrays. Or the path of a video, of which
                one snippet is read, from its beginning, as transformers' video-classification pipeline does.
            return_tensors (`str`, *optional*): `"pt"` or `"np"`; without it `pixel_values` is a list of
                arrays.
            options: `size`, `crop_size`, `image_mean`, `image_std`, `rescale_factor` and every `do_`, for
                this call only; `None` leaves a setting as it is. With a path also `num_frames`, and
                `do_sample_frames`, which that pipeline passes and which changes nothing.

        Returns:
            `BatchFeature`: `pixel_values`, float32 `(batch, num_frames, 3, crop_height, crop_width)`.

        Raises:
            ValueError: If a clip is empty, has another layout or is not 8-bit RGB, the clips come out in
                different sizes, or an option is out of range.
            TypeError: If the input is neither an array, a tensor nor a list, or an option is unknown.
        """
        if isinstance(videos, (str, os.PathLike)):
            options.pop("do_sample_frames", None)
            num_frames = options.pop("num_frames", None) or self.num_frames
            with VideoReader(videos) as video:
                videos = [frame.image for frame in islice(video, num_frames)]
            videos += videos[-1:] * (num_frames - len(videos))
        settings = self._with_options(options)
        clips = [
            settings.normalize_pixels(settings.resize_and_crop(stack_frames(clip)))
            for clip in _to_clips(videos)
        ]
        if return_tensors is None:
            return BatchFeature({"pixel_values": [clip.numpy() for clip in clips]})
        shapes = {tuple(clip.shape) for clip in clips}
        if len(shapes) > 1:
            raise ValueError(
                f"Clips of the shapes {sorted(shapes)} do not make one batch; give them the same number of "
                "frames, and leave do_center_crop on or give them one size."
            )
        return BatchFeature({"pixel_values": torch.stack(clips)}, tensor_type=return_tensors)

    def __call__(  # type: ignore[override]  # clips where an image processor takes images
        self, videos: Any, return_tensors: str | None = None, **options: Any
    ) -> BatchFeature:
        """Preprocess one clip or several; see [`~BSPFeatureExtractor.preprocess`]."""
        return self.preprocess(videos, return_tensors=return_tensors, **options)

    def _with_options(self, options: Mapping[str, Any]) -> "BSPFeatureExtractor":
        unknown = sorted(set(options) - set(_CALL_OPTIONS))
        if unknown:
            raise TypeError(
                f"{type(self).__name__} knows no option {', '.join(unknown)}; a call takes return_tensors, "
                f"{', '.join(_CALL_OPTIONS)}. Everything else is set when it is made."
            )
        settings = copy.copy(self)
        for name, value in options.items():
            if value is not None:
                setattr(settings, name, _CALL_OPTIONS[name](value))
        settings._check()
        return settings


def _to_size(value: Any, default_to_square: bool = True) -> dict[str, int]:
    # As in transformers, one number is the short side of a picture, or both sides of a crop.
    if isinstance(value, (int, list, tuple)):
        value = get_size_dict(value, default_to_square=default_to_square)
    return dict(value)


def _to_channels(value: Any) -> list[float]:
    return [value] * 3 if isinstance(value, (int, float)) else list(value)


# The settings that a call may change for itself, and how their values are read.
_CALL_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "size": partial(_to_size, default_to_square=False),
    "crop_size": _to_size,
    "do_resize": bool,
    "do_center_crop": bool,
    "do_rescale": bool,
    "rescale_factor": float,
    "do_normalize": bool,
    "image_mean": _to_channels,
    "image_std": _to_channels,
}


def _to_clips(videos: Any) -> list[Any]:
    if isinstance(videos, (np.ndarray, Tensor)):
        return list(videos) if videos.ndim == 5 else [videos]
    if not isinstance(videos, (list, tuple)):
        raise TypeError(
            "A clip is an array (num_frames, height, width, 3) or a list of frames, "
            f"not {type(videos).__name__}. For files use the video-feature-extraction pipeline."
        )
    if not videos:
        raise ValueError(
            "No clip was given; pass an array (num_frames, height, width, 3) or a list of frames."
        )
    return [videos] if is_frame(videos[0]) else list(videos)
