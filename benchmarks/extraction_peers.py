"""Recipes that people extract features with, rebuilt to be measured beside ours in `extraction.py`.

All run the same weights, 8-frame snippets, one after the other, as their originals do by default.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from bsp_hf import BSPModel

SNIPPET, SHORT_SIDE, CROP = 8, 256, 224
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


class PublishedTSM(nn.Module):
    """The encoder as published code runs it: contiguous NCHW, batch norms apart, a shift into zeros."""

    def __init__(self, model: BSPModel) -> None:
        super().__init__()
        self.backbone, self.fold_div = model.backbone, model.config.shift_div

    def shift(self, x: Tensor) -> Tensor:
        clips = x.view(-1, SNIPPET, *x.shape[1:])
        fold = x.shape[1] // self.fold_div
        out = torch.zeros_like(clips)
        out[:, :-1, :fold] = clips[:, 1:, :fold]
        out[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
        out[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
        return out.view_as(x)

    def frame_features(self, frames: Tensor) -> Tensor:
        x = self.backbone.embedder(frames)
        for stage in self.backbone.encoder.stages:
            for block in stage.layers:
                x = block.activation(block.layer(self.shift(x)) + block.shortcut(x))
        return x.mean((2, 3))

    def forward(self, frames: Tensor) -> Tensor:
        return self.frame_features(frames).mean(0)


def _encode(model: PublishedTSM, frames: np.ndarray | Tensor) -> np.ndarray:
    """Run `(8, 3, 224, 224)` float32 pixels."""
    dtype = next(model.parameters()).dtype
    with torch.no_grad():
        return model(torch.as_tensor(frames).to(dtype)).float().numpy()


def _shrink_cv2(image: np.ndarray) -> np.ndarray:
    """Resize the short side without antialiasing, crop, normalise: `(3, 224, 224)`."""
    import cv2

    height, width = image.shape[:2]
    scale = SHORT_SIDE / min(height, width)
    image = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
    top, left = (image.shape[0] - CROP) // 2, (image.shape[1] - CROP) // 2
    crop = image[top : top + CROP, left : left + CROP].astype(np.float32) / 255
    return np.ascontiguousarray(((crop - MEAN) / STD).transpose(2, 0, 1))


def mmaction2_like(model: PublishedTSM, path: Path, num_frames: int) -> np.ndarray:
    """decord, OpenCV, contiguous float32."""
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    rows = []
    for first in range(0, num_frames, SNIPPET):
        images = reader.get_batch(list(range(first, first + SNIPPET))).asnumpy()
        rows.append(_encode(model, np.stack([_shrink_cv2(image) for image in images])))
    return np.stack(rows)


def jpeg_dump(model: PublishedTSM, path: Path, num_frames: int) -> np.ndarray:
    """The original TSM: every frame to a JPEG file of short side 256, then Pillow."""
    import cv2

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        capture = cv2.VideoCapture(str(path))
        capture.set(cv2.CAP_PROP_N_THREADS, 1)
        for k in range(num_frames):
            _, image = capture.read()
            height, width = image.shape[:2]
            scale = SHORT_SIDE / min(height, width)
            image = cv2.resize(image, (round(width * scale), round(height * scale)))
            cv2.imwrite(f"{folder}/{k:05d}.jpg", image)
        capture.release()
        for first in range(0, num_frames, SNIPPET):
            crops = []
            for k in range(first, first + SNIPPET):
                with Image.open(f"{folder}/{k:05d}.jpg") as image:
                    left, top = (image.width - CROP) // 2, (image.height - CROP) // 2
                    pixels = np.asarray(image.convert("RGB").crop((left, top, left + CROP, top + CROP)))
                crops.append(((pixels.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1))
            rows.append(_encode(model, np.ascontiguousarray(np.stack(crops))))
    return np.stack(rows)


def video_features_like(model: PublishedTSM, path: Path, num_frames: int) -> np.ndarray:
    """The whole video in memory, then a resize in float."""
    images = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            images.append(frame.to_ndarray(format="rgb24"))
            if len(images) == num_frames:
                break
    video = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    mean, std = (torch.from_numpy(values).view(3, 1, 1) for values in (MEAN, STD))
    rows = []
    for first in range(0, num_frames, SNIPPET):
        pixels = video[first : first + SNIPPET].float() / 255
        height, width = pixels.shape[-2:]
        scale = SHORT_SIDE / min(height, width)
        size = (round(height * scale), round(width * scale))
        pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
        top, left = (size[0] - CROP) // 2, (size[1] - CROP) // 2
        rows.append(_encode(model, (pixels[..., top : top + CROP, left : left + CROP] - mean) / std))
    return np.stack(rows)


def write_video(path: Path, frames: Iterator[np.ndarray], fps: int) -> None:
    """Encode H.264 with a keyframe every 250 frames, as files from the net have it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "23", "g": "250", "threads": "1"})
        stream.pix_fmt = "yuv420p"
        for k, image in enumerate(frames):
            if k == 0:
                stream.height, stream.width = image.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


PEERS: dict[str, Callable[[PublishedTSM, Path, int], np.ndarray]] = {
    "mmaction2-like": mmaction2_like,
    "TSM, JPEG dump": jpeg_dump,
    "video_features-like": video_features_like,
}
NEEDS_PACKAGES = {"mmaction2-like": ("decord", "cv2"), "TSM, JPEG dump": ("cv2",)}
