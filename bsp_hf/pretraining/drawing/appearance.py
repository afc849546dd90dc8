"""What a source looks like, in a few numbers: the colours of one frame, coarsely by place."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from bsp_hf.encoder.video import VideoDecodeError

from ..frame_store import FrameStore
from ..sources import TrimmedVideo

logger = logging.getLogger(__name__)

_GRID = 4


def describe_frame(frame: np.ndarray) -> np.ndarray:
    """Return the mean colours of a grid over a frame, float32 `(48,)` in [0, 1]."""
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    return F.adaptive_avg_pool2d(pixels, _GRID).flatten().numpy()


def measure_appearance(sources: Sequence[TrimmedVideo], store: FrameStore) -> np.ndarray:
    """Describe the middle frame of every source, float32 `(num_sources, 48)`; NaN where none decodes."""
    logger.info("looking at one frame of each of %d sources", len(sources))
    rows = np.full((len(sources), 3 * _GRID**2), np.nan, np.float32)
    for number, source in enumerate(sources):
        try:
            rows[number] = describe_frame(store.read(source, np.array([source.num_frames // 2]))[0])
        except (VideoDecodeError, FileNotFoundError, IndexError) as error:
            logger.warning("its looks are not known: %s", error)
    return rows
