"""Settings of an extraction job: each field is an option of `bsp-hf extract` and of the example."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from bsp_hf.encoder.frame_times import exact_rate
from bsp_hf.features.storage.suffixes import TRACK_FORMATS
from bsp_hf.training.options import option


@dataclass(frozen=True, kw_only=True)
class ExtractionSettings:
    """How the features of many videos are extracted; each field has its help.

    Raises:
        ValueError: If a value makes no sense.
    """

    # What may differ from run to run and from process to process of one job. The record of the encoder names
    # the number type, and the journal the part of each video.
    free_to_change: ClassVar[frozenset[str]] = frozenset(
        {"start_s", "end_s", "keep_partial", "overwrite", "dtype", "device", "num_threads", "batch_size"}
        | {"num_workers", "shard", "timeout_s", "ray"}
    )

    file_format: str | None = option(
        None, "format of the files, by default npy, or h5 if the output's name ends so", choices=TRACK_FORMATS
    )
    stride_frames: int | None = option(
        None, "frames from the start of a snippet to that of the next; default: the checkpoint's"
    )
    fps: float | None = option(None, "frame rate to resample to; default: the checkpoint's, or the video's")
    padding: str | None = option(
        None,
        "what becomes of a last snippet that is not full; default: the checkpoint's",
        choices=("repeat", "drop"),
    )
    start_s: float = option(0.0, "first second of each video")
    end_s: float | None = option(None, "end of each video in seconds, exclusive")
    rescale_to: int | None = option(None, "interpolate every track over time to so many rows")
    keep_partial: bool = option(False, "write what can be read of damaged videos, marked as incomplete")
    overwrite: bool = option(False, "delete features of another encoder, other settings or another part")
    dtype: str = option(
        "auto", "number type to compute in", choices=("auto", "float32", "bfloat16", "float16")
    )
    device: str | None = option(
        None, "where to compute, like cpu or cuda:1; default: the first accelerator, else cpu"
    )
    num_threads: int | None = option(None, "threads of each worker on the CPU")
    batch_size: int | None = option(None, "snippets that go through the encoder together")
    num_workers: int = option(
        0,
        "child processes with an encoder each, which survive a crash of the decoder; 0 works in this process",
    )
    ray: str | None = option(
        None,
        "extract on a Ray cluster: its address, auto for the running one, or local to start one here; "
        "num_workers is then the number of encoders, by default as many as there is room for",
    )
    shard: tuple[int, int] = field(
        default=(0, 1),
        metadata={"help": "(i, n): every nth video from the ith on, counted from 0", "option": False},
    )
    timeout_s: float = option(
        60.0,
        "seconds to wait for a frame of a file; one that hangs inside the system is abandoned 30 s later",
    )

    def __post_init__(self) -> None:
        if self.file_format not in (None, *TRACK_FORMATS):
            raise ValueError(f"file_format={self.file_format!r} is none of {', '.join(TRACK_FORMATS)}.")
        index, count = self.shard
        if not 0 <= index < count:
            raise ValueError(f"shard={index}/{count}: of n shards, the first is 0/n and the last n-1/n.")
        if self.fps is not None:
            exact_rate(self.fps)
        if self.num_workers < 0:
            raise ValueError(f"num_workers must not be negative, got {self.num_workers}.")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be positive, got {self.timeout_s}.")
        if self.rescale_to is not None and self.rescale_to < 1:
            raise ValueError(f"rescale_to must be at least 1, got {self.rescale_to}.")

    def lasting(self) -> dict[str, Any]:  # Any: JSON values
        """Return the fields that all runs of a job share."""
        names = (item.name for item in fields(ExtractionSettings))  # not those of a script's subclass
        return {name: getattr(self, name) for name in names if name not in self.free_to_change}
