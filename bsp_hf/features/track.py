"""FeatureTrack: the snippet features of one video, with the record of how they were made."""

import hashlib
import json
import operator
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bsp_hf.encoder.video_records import Completeness
from bsp_hf.files import check_video_id

from .encoder_record import EncoderMismatchError, EncoderRecord


def check_same_encoder(track: "FeatureTrack", expected: EncoderRecord | Mapping[str, Any]) -> None:
    """Check that the expected encoder made a track.

    Args:
        track (`FeatureTrack`): The track.
        expected (`EncoderRecord` or `Mapping`): The encoder that the features must come from; a mapping is
            read as `EncoderRecord.to_dict` gives it, so a localizer can keep it in its config.

    Raises:
        EncoderMismatchError: If the encoders differ in more than their number type.
        ValueError: If `expected` lacks a field.
    """
    wanted = expected if isinstance(expected, EncoderRecord) else EncoderRecord.from_dict(expected)
    differences = track.record.encoder.differences(wanted)
    if differences:
        raise EncoderMismatchError(
            f"the features of {track.record.video_id} come from another encoder (different "
            f"{', '.join(differences)}): they were made by {track.record.encoder}; expected {wanted}. "
            "Extract them with the expected encoder, or use what was trained on these."
        )


FORMAT_VERSION = 1


@dataclass(frozen=True)
class TrackRecord:
    """How the rows of a feature track were made; goes wherever the rows go.

    Args:
        video_id (`str`): The video. Relative paths such as `"kitchen/v1"` are ids too.
        encoder (`EncoderRecord`): The encoder.
        fps (`float`): Frames per second on which the snippets lie: that of the video, or what it was
            resampled to.
        snippet_frames (`int`): Frames of a snippet.
        stride_frames (`int`): Frames from the start of one snippet to that of the next.
        num_frames (`int`): Frames that were read.
        duration_s (`float`): Duration of the video in seconds.
        complete (`bool` or `"unknown"`): Whether all of the video could be read; `"unknown"` if its format
            states neither its length nor its end, so that a cut file looks the same.
        error (`str`, *optional*): Why not.
        decoder_version (`str`, *optional*, defaults to `"unknown"`): What decoded the video.
        rescaled_from (`int`, *optional*): Number of snippets that the rows were interpolated from; none if
            each row is one snippet.
        format_version (`int`, *optional*, defaults to 1): Version of this record.

    Raises:
        TypeError: If a field has another type.
        ValueError: If a field is out of range, or a newer release wrote the record.
    """

    video_id: str
    encoder: EncoderRecord
    fps: float
    snippet_frames: int
    stride_frames: int
    num_frames: int
    duration_s: float
    complete: Completeness
    error: str | None = None
    decoder_version: str = "unknown"
    rescaled_from: int | None = None
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        check_video_id(self.video_id)
        if not isinstance(self.encoder, EncoderRecord):
            raise TypeError(f"encoder must be an EncoderRecord, got {self.encoder!r}.")
        if not isinstance(self.complete, bool) and self.complete != "unknown":
            raise TypeError(f'complete must be true, false or "unknown", got {self.complete!r}.')
        if not isinstance(self.decoder_version, str) or not isinstance(self.error, str | None):
            raise TypeError(
                f"decoder_version and error must be text, got {self.decoder_version!r}, {self.error!r}."
            )
        self._check_integer("format_version", 1)
        if self.format_version > FORMAT_VERSION:
            raise ValueError(
                f"format_version is {self.format_version}, this release reads up to {FORMAT_VERSION}: "
                "update bsp_hf."
            )
        self._check_integer("snippet_frames", 1)
        self._check_integer("stride_frames", 1)
        self._check_integer("num_frames", 0)
        if self.rescaled_from is not None:
            self._check_integer("rescaled_from", 1)
        self._check_seconds("fps")
        self._check_seconds("duration_s")
        if self.fps == 0:
            raise ValueError("fps must be positive, got 0.")

    def _check_integer(self, name: str, lowest: int) -> None:
        given = getattr(self, name)
        try:
            value = operator.index(given)
        except TypeError:
            raise TypeError(f"{name} must be a whole number, got {given!r}.") from None
        if isinstance(given, bool) or value < lowest:
            raise ValueError(f"{name} must be a whole number of at least {lowest}, got {given!r}.")
        object.__setattr__(self, name, value)  # numpy's integers would not go into JSON

    def _check_seconds(self, name: str) -> None:
        given = getattr(self, name)
        if isinstance(given, str | bool) or not hasattr(given, "__float__"):
            raise TypeError(f"{name} must be a number, got {given!r}.")
        if not (isfinite(given) and given >= 0):
            raise ValueError(f"{name} must be finite and not negative, got {given!r}.")
        object.__setattr__(self, name, float(given))

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values that JSON can hold."""
        return {**asdict(self), "encoder": self.encoder.to_dict()}

    def to_json(self) -> str:
        """Return the record as a line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> "TrackRecord":
        """Read a record that `to_json` returned, or raise as [`~TrackRecord.from_dict`] does."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrackRecord":
        """Read a record that `to_dict` returned; names that are not its own are passed over.

        Raises:
            TypeError: If `values` is no mapping, or a field has another type.
            ValueError: If a field is missing or out of range.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"a record must be a mapping of its fields, got {type(values).__name__}.")
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        missing = [name for name in _REQUIRED_FIELDS if name not in known]
        if missing:
            raise ValueError(f"the record lacks {', '.join(missing)}.")
        return cls(**{**known, "encoder": EncoderRecord.from_dict(known["encoder"])})


_REQUIRED_FIELDS = tuple(field.name for field in fields(TrackRecord) if field.default is MISSING)


@dataclass(frozen=True, eq=False)
class FeatureTrack:
    """The snippet features of one video.

    Two tracks are equal if every feature, time and field of the record is.

    Args:
        features (`ArrayLike`): `(num_snippets, dim)`, time first; kept as C-contiguous float32. Memory is
            shared with the caller where it already is that.
        centers_s (`ArrayLike`): `(num_snippets,)`, centre time of each row in seconds, ascending; kept as
            float64.
        record (`TrackRecord`): How the rows were made.

    Raises:
        TypeError: If `features` or `centers_s` does not hold numbers.
        ValueError: If a shape is wrong or the times do not ascend.

    Example:
    ```python
    >>> import numpy as np
    >>> from bsp_hf.features import FeatureTrack
    >>> track = FeatureTrack.from_rows(
    ...     np.zeros((3, 512)), video_id="v1", encoder="i3d", fps=25.0, snippet_frames=8, stride_frames=8
    ... )
    >>> track.features.shape, track.centers_s.tolist()
    ((3, 512), [0.16, 0.48, 0.8])
    ```
    """

    features: np.ndarray
    centers_s: np.ndarray
    record: TrackRecord

    def __post_init__(self) -> None:
        features = _to_array(self.features, "features", np.float32)
        centers_s = _to_array(self.centers_s, "centers_s", np.float64)
        if features.ndim != 2 or features.shape[1] == 0:
            raise ValueError(
                f"features must have shape (num_snippets, dim), got {features.shape}; one row is (1, dim)."
            )
        if centers_s.shape != features.shape[:1]:
            raise ValueError(
                f"centers_s must hold one time for each of {len(features)} rows, got shape {centers_s.shape}."
            )
        if not np.isfinite(centers_s).all() or (np.diff(centers_s) < 0).any():
            raise ValueError("centers_s must be finite and ascend; sort the rows by time.")
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "centers_s", centers_s)

    @property
    def num_snippets(self) -> int:
        """Number of rows."""
        return self.features.shape[0]

    @property
    def dim(self) -> int:
        """Length of a row."""
        return self.features.shape[1]

    def __repr__(self) -> str:
        record, times_s = self.record, self.centers_s
        span = f", {times_s[0]:.2f} to {times_s[-1]:.2f} s" if len(times_s) else ""
        state = {True: "", False: f", partial: {record.error}", "unknown": ", perhaps cut"}[record.complete]
        shape = f"{self.num_snippets} snippets x {self.dim} features"
        return f"<FeatureTrack {record.video_id!r}: {shape}{span}, by {record.encoder}{state}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FeatureTrack):
            return NotImplemented
        return (
            self.record == other.record
            and np.array_equal(self.features, other.features, equal_nan=True)
            and np.array_equal(self.centers_s, other.centers_s)
        )

    @classmethod
    def from_pipeline(cls, result: Mapping[str, Any], *, video_id: str) -> "FeatureTrack":
        """Make a track of what `pipeline("video-feature-extraction")` returns for one video.

        Args:
            result (`Mapping[str, Any]`): The pipeline's result, with arrays or tensors.
            video_id (`str`): Name of the video.

        Returns:
            `FeatureTrack`: The track. A video that could be read in part gives one with
            `record.complete` false.

        Raises:
            ValueError: If the video gave no row because it could not be read, or the result lacks a field.
        """
        from bsp_hf.encoder.video import decoder_version  # reading a track needs no decoder

        missing = [name for name in _RESULT_FIELDS if name not in result]
        if missing:
            raise ValueError(f"{video_id}: the pipeline's result lacks {', '.join(missing)}.")
        if result.get("error") and not len(result["features"]):
            raise ValueError(f"{video_id} has no features: {result['error']}")
        values = {"decoder_version": decoder_version(), **result, "video_id": video_id}
        return cls(result["features"], result["centers_s"], TrackRecord.from_dict(values))

    @classmethod
    def from_rows(
        cls,
        features: ArrayLike,
        *,
        video_id: str,
        encoder: EncoderRecord | str,
        fps: float,
        snippet_frames: int,
        stride_frames: int,
        duration_s: float | None = None,
    ) -> "FeatureTrack":
        """Make a track of rows that another tool computed at a constant frame rate.

        Args:
            features (`ArrayLike`): `(num_snippets, dim)`.
            video_id (`str`): Name of the video.
            encoder (`EncoderRecord` or `str`): The encoder, or just its name.
            fps (`float`): Frames per second that the snippets were cut at.
            snippet_frames (`int`): Frames of a snippet.
            stride_frames (`int`): Frames from the start of one snippet to that of the next.
            duration_s (`float`, *optional*): Duration of the video in seconds; by default where the last
                snippet ends.

        Returns:
            `FeatureTrack`: The track, with row `i` centred at
            `(i * stride_frames + snippet_frames / 2) / fps`.

        Raises:
            ValueError: If `features` is not 2-D, or a number is out of range.
        """
        rows = _to_array(features, "features", np.float32)
        if not fps > 0:
            raise ValueError(f"fps must be positive, got {fps}.")
        num_rows = len(rows) if rows.ndim else 0
        num_frames = (num_rows - 1) * stride_frames + snippet_frames if num_rows else 0
        record = TrackRecord(
            video_id=video_id,
            encoder=EncoderRecord.named(encoder) if isinstance(encoder, str) else encoder,
            fps=fps,
            snippet_frames=snippet_frames,
            stride_frames=stride_frames,
            num_frames=num_frames if duration_s is None else round(duration_s * fps),
            duration_s=num_frames / fps if duration_s is None else duration_s,
            complete=True,
        )
        return cls(rows, (np.arange(num_rows) * stride_frames + snippet_frames / 2) / fps, record)


_RESULT_FIELDS = (
    "features",
    "centers_s",
    *(name for name in _REQUIRED_FIELDS if name != "video_id"),
)


def _to_array(values: Any, name: str, dtype: type) -> np.ndarray:  # Any: array, list or tensor
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double().numpy() if dtype is np.float64 else values.float().numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got {array.dtype}.")
    return np.ascontiguousarray(array, dtype=dtype) if array.ndim else array.astype(dtype)


def check_finite(features: np.ndarray, video_id: str) -> None:
    """Check that rows `(num_rows, dim)` hold neither NaN nor infinity."""
    wrong = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(wrong):
        raise ValueError(
            f"{len(wrong)} of {len(features)} feature rows of {video_id} are not finite, first row "
            f"{wrong[0]}; look for a damaged encoder, extract them again, or leave the video out."
        )


def digest_rows(features: np.ndarray, centers_s: np.ndarray | None = None) -> str:
    """Return the SHA-256 of rows, and of their times if given; the same in whatever format they are kept."""
    unknown = np.isnan(features)
    if unknown.any():  # a csv file has one NaN, memory has many
        features = np.where(unknown, np.float32("nan"), features)
    digest = hashlib.sha256(np.ascontiguousarray(features, dtype="<f4").tobytes())
    if centers_s is not None:
        digest.update(np.ascontiguousarray(centers_s, dtype="<f8").tobytes())
    return digest.hexdigest()
