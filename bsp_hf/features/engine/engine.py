"""The features of one video, fast: every core decodes and encodes, and nothing is held but what is needed."""

import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from bsp_hf.encoder.provenance import describe_encoder
from bsp_hf.encoder.snippets import Snippet
from bsp_hf.encoder.thread_pool import PoolClock, map_in_threads
from bsp_hf.encoder.video_snippets import VideoSnippets, blank_pixel_values, encode_clips, to_pixel_values
from bsp_hf.encoder.video_source import VideoDecodeError
from bsp_hf.features.encoder_record import EncoderRecord
from bsp_hf.features.track import FeatureTrack, check_finite

from .fast_encoder import choose_dtype, prepare_encoder

_CUDA_THREADS = 4
_CUDA_BATCH = 32
# On a CPU, so many snippets of 8 frames of so many pixels take the least time; more of them leave the cache.
_CPU_BATCH, _CPU_PIXELS = 8, 96 * 96
# A reader that checks the time has given up before.
_GRACE_S = 2.0


@dataclass(frozen=True)
class ExtractionProgress:
    """How far the extraction of one video is.

    Args:
        num_snippets (`int`): Rows that are done.
        center_s (`float`): Centre of the last of them, in seconds of the video.
        elapsed_s (`float`): Seconds since the extraction began.
        waiting_share (`float`): Share of the threads' time, in [0, 1], that was spent waiting for frames.
    """

    num_snippets: int
    center_s: float
    elapsed_s: float
    waiting_share: float


class ExtractionEngine:
    """Extracts the snippet features of videos with one encoder, as fast as the machine can.

    The features are those of `pipeline("video-feature-extraction")` up to rounding. On a CPU, every thread
    takes its turn at the decoder, decodes and resizes the frames of its next snippets, and runs the encoder
    on them on one core, which keeps all cores busy without any of them waiting for another. On a GPU the
    threads decode, and their batches are larger. The encoder is a copy with folded batch norms, taken when
    the engine is made: training the model further does not reach it.

    On processors with AVX2 and no more, 3x3 convolutions in float32 are computed by Winograd's method;
    features move by rounding only. In bfloat16 the cosine to float32 is above 0.999 on real video. A program
    that does nothing else gains some percent by `bsp_hf.malloc.keep_freed_memory()`.

    Several threads may call one engine at a time.

    Args:
        model (`PreTrainedModel`): Any video model of transformers that takes `pixel_values`; left as it is.
        extractor: Its `BSPFeatureExtractor` or image processor.
        dtype (`str`, *optional*, defaults to `"auto"`): Number type to compute in: `"float32"`,
            `"bfloat16"`, `"float16"` (GPU), or `"auto"`, which is bfloat16 where the hardware multiplies in
            it and float32 elsewhere; see [`choose_dtype`].
        device (`str` or `torch.device`, *optional*): Where to compute; by default where the model is.
        num_threads (`int`, *optional*): Threads; by default torch's number of threads on a CPU, 4 on a GPU.
        batch_size (`int`, *optional*): Snippets that a thread takes at a time; by default 2 in float32 and 1
            in bfloat16 on a CPU, up to 8 of pictures smaller than 224 x 224 pixels, and 32 on a GPU.

    Raises:
        ValueError: If a setting is out of range.

    Example:
    ```python
    >>> from transformers import AutoFeatureExtractor, AutoModel
    >>> from bsp_hf import ExtractionEngine
    >>> model = AutoModel.from_pretrained("bsp-tsm-r50")  # doctest: +SKIP
    >>> extractor = AutoFeatureExtractor.from_pretrained("bsp-tsm-r50")  # doctest: +SKIP
    >>> engine = ExtractionEngine(model, extractor)  # doctest: +SKIP
    >>> track = engine.extract("video.mp4", video_id="video")  # doctest: +SKIP
    ```
    """

    def __init__(
        self,
        model: PreTrainedModel,
        extractor: Any,  # Any: ours, or the image processor of another model
        *,
        dtype: str = "auto",
        device: str | torch.device | None = None,
        num_threads: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        for name, value in (("num_threads", num_threads), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        self.device = torch.device(model.device if device is None else device)
        """`torch.device`: Where the encoder computes."""
        self.dtype = choose_dtype(dtype, self.device)
        """`torch.dtype`: The number type that it computes in."""
        is_cpu = self.device.type == "cpu"
        default_batch = _choose_cpu_batch(extractor, self.dtype) if is_cpu else _CUDA_BATCH
        self.num_threads = num_threads or (torch.get_num_threads() if is_cpu else _CUDA_THREADS)
        """`int`: Threads that decode and encode."""
        self.batch_size = batch_size or default_batch
        """`int`: Snippets that a thread takes at a time."""
        description = describe_encoder(model, extractor)
        dtype_name = str(self.dtype).removeprefix("torch.")
        self.encoder = EncoderRecord.from_dict({**description, "dtype": dtype_name})
        """`EncoderRecord`: Who makes the features; goes into every track."""
        self._of_thread = threading.local()
        self._extractor = extractor
        self._config = model.config
        self._model = prepare_encoder(model, extractor, self.dtype, self.device)

    def extract(
        self,
        video: Any,
        *,
        video_id: str,
        stride_frames: int | None = None,
        fps: float | None = None,
        padding: str | None = None,
        start_s: float = 0.0,
        end_s: float | None = None,
        input_fps: float | None = None,
        timeout_s: float = 60.0,
        progress: Callable[[ExtractionProgress], None] | None = None,
    ) -> FeatureTrack:
        """Extract the features of one video.

        Args:
            video: A path, an open binary file, bytes, or frames in memory.
            video_id (`str`): Name of the video in the record.
            stride_frames (`int`, *optional*): Frames from the start of a snippet to that of the next; by
                default what the checkpoint says. Frames of overlapping snippets are decoded and resized once.
            fps (`float`, *optional*): Rate to resample to; by default what the checkpoint says.
            padding (`str`, *optional*): `"repeat"` or `"drop"`; by default what the checkpoint says.
            start_s (`float`, *optional*, defaults to 0.0): First second.
            end_s (`float`, *optional*): End in seconds, exclusive; by default the end of the video.
            input_fps (`float`, *optional*): Rate of frames in memory; needed for these, refused for files.
            timeout_s (`float`, *optional*, defaults to 60.0): Seconds that one frame may take before the
                video is given up. A read that never returns leaves its thread behind.
            progress (`Callable`, *optional*): Called with an [`ExtractionProgress`] after every row, in the
                caller's thread; what it raises ends the extraction.

        Returns:
            `FeatureTrack`: The rows in order. A video that is damaged or cut gives those that could be made,
                and `record.complete` is false.

        Raises:
            VideoDecodeError: If the video cannot be read, or gives no frame for `timeout_s`.
            OSError: If the file is not there or may not be read.
            ValueError: If a parameter is out of range, or the encoder gives rows that are not finite.
            TypeError: If `video` is nothing that holds a video.
        """
        snippets = VideoSnippets(
            video,
            self._extractor,
            self._config,
            stride_frames=stride_frames,
            fps=fps,
            padding=padding,
            start_s=start_s,
            end_s=end_s,
            input_fps=input_fps,
            timeout_s=timeout_s,
        )

        def check_time(reading_s: float) -> None:
            if timeout_s is None:
                return
            # A snippet may need many frames, and those before `start_s`; opening has limits of its own.
            since_s, longest_s = snippets.waiting_since_s, timeout_s + _GRACE_S
            if since_s is None:
                longest_s += timeout_s
            elif time.monotonic() - since_s < reading_s:
                reading_s = time.monotonic() - since_s
            if reading_s > longest_s:
                raise VideoDecodeError(str(video_id), f"no frame came within {timeout_s:g} s")

        began_s, clock = time.monotonic(), PoolClock()
        # Arrays that grow by a sixteenth at a time, in place where the system can move their pages.
        rows, centers_s = array("f"), array("d")
        results = map_in_threads(
            iter(snippets),
            self._encode,
            num_threads=self.num_threads,
            batch_size=self.batch_size,
            clock=clock,
            check_time=check_time,
        )
        for center_s, row in results:
            rows.frombytes(row.tobytes())
            centers_s.append(center_s)
            if progress is not None:
                spent_s = clock.waiting_s + clock.reading_s + clock.working_s
                share = (clock.waiting_s + clock.reading_s) / spent_s if spent_s else 0.0
                progress(ExtractionProgress(len(centers_s), center_s, time.monotonic() - began_s, share))
        if not centers_s and snippets.record["error"]:
            raise VideoDecodeError(str(video_id), snippets.record["error"])
        dim = len(rows) // len(centers_s) if centers_s else self._find_dim()
        features = np.asarray(rows).reshape(len(centers_s), dim)
        check_finite(features, str(video_id))
        result = {**snippets.record, "features": features, "centers_s": np.array(centers_s, np.float64)}
        return FeatureTrack.from_pipeline({**result, "encoder": self.encoder.to_dict()}, video_id=video_id)

    @torch.inference_mode()
    def _encode(self, snippets: list[Snippet]) -> list[tuple[float, np.ndarray]]:
        # A stream for each thread, so that the copies of one run beside the computation of another.
        if self.device.type == "cuda" and not hasattr(self._of_thread, "stream"):
            self._of_thread.stream = torch.cuda.Stream(self.device)
        with torch.cuda.stream(getattr(self._of_thread, "stream", None)):
            pixel_values = to_pixel_values(self._extractor, [s.images for s in snippets], self.device)
            rows = encode_clips(self._model, pixel_values).cpu().numpy()
        return [(snippet.center_s, row) for snippet, row in zip(snippets, rows, strict=True)]

    @torch.inference_mode()
    def _find_dim(self) -> int:
        """Length of a row where no snippet has shown it."""
        frames = VideoSnippets(None, self._extractor, self._config).snippet_frames
        blank: Tensor = blank_pixel_values(self._extractor, frames)
        return encode_clips(self._model, blank.to(self.device)).shape[-1]


def _choose_cpu_batch(extractor: Any, dtype: torch.dtype) -> int:  # Any: ours, or another model's
    height, width = blank_pixel_values(extractor, 1).shape[-2:]
    of_small = min(_CPU_BATCH, round(_CPU_BATCH * _CPU_PIXELS / (height * width)))
    return max(2 if dtype == torch.float32 else 1, of_small)
