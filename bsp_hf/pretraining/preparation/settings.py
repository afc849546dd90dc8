"""Settings of a preparation: each field is an option of `bsp-hf prepare`."""

from dataclasses import dataclass
from typing import Any

from bsp_hf.training.options import option

# Frames from one keyframe to the next, by form.
KEYFRAME_EVERY = {"mp4": 12, "intra": 1, "jpeg": 1}


@dataclass(frozen=True, kw_only=True)
class PreparationSettings:
    """What a preparation can be asked for."""

    form: str = option(
        "mp4",
        "H.264 with a keyframe every 12 frames (mp4) or with nothing else (intra), or Arrow shards of JPEG "
        "frames (jpeg); each is faster to read and larger than the one before",
        tuple(KEYFRAME_EVERY),
    )
    short_side: int = option(256, "pixels of the shorter side; smaller videos keep their size")
    crf: int = option(20, "constant rate factor of H.264; lower is better and larger")
    quality: int = option(90, "of JPEG frames, 1 to 95")
    videos_per_shard: int = option(100, "with --form jpeg")
    num_workers: int = option(0, "processes that encode; 0 for this one")
    timeout_s: float = option(60.0, "seconds that one frame may take before its video is given up")
    retry_failed: bool = option(False, "try videos again that failed in an earlier run")

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.form not in KEYFRAME_EVERY:
            raise ValueError(f"form={self.form!r} must be one of {', '.join(KEYFRAME_EVERY)}.")
        ranges = {"short_side": (16, 4096), "crf": (0, 51), "quality": (1, 95)}
        ranges |= {"videos_per_shard": (1, 1_000_000), "num_workers": (0, 4096)}
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name}={getattr(self, name)} must be between {least} and {most}.")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s={self.timeout_s} must be positive.")

    def lasting(self) -> dict[str, Any]:  # Any: JSON values
        """Return what all videos of a store share."""
        own = {"quality": self.quality, "videos_per_shard": self.videos_per_shard}
        return {
            "form": self.form,
            "short_side": self.short_side,
            "keyframe_every": KEYFRAME_EVERY[self.form],
            **(own if self.form == "jpeg" else {"crf": self.crf}),
        }
