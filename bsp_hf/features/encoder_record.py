"""Which encoder made a feature, and whether two features come from the same one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EncoderRecord:
    """Identity of an encoder, as the feature pipeline returns it.

    Args:
        id (`str`): Hub id, or name of the folder it was loaded from.
        revision (`str`): Commit of the Hub repository, or `"weights-"` and a digest of the weights.
        settings_hash (`str`): Hash of all settings that change a feature's value.
        dtype (`str`): Type that it computed in, e.g. `"float32"`.
        parts (`tuple[EncoderRecord, ...]`, *optional*): The encoders whose features were joined along the
            channels, in order; empty for a single encoder.

    Raises:
        TypeError: If a field is not text.
    """

    id: str
    revision: str
    settings_hash: str
    dtype: str
    parts: tuple["EncoderRecord", ...] = ()

    def __post_init__(self) -> None:
        for name in _TEXT_FIELDS:
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"encoder.{name} must be text, got {getattr(self, name)!r}.")

    @classmethod
    def named(cls, encoder_id: str) -> "EncoderRecord":
        """Return the record of an encoder of which only the name is known; the rest is `"unknown"`."""
        return cls(encoder_id, "unknown", "unknown", "unknown")

    @classmethod
    def join(cls, encoders: Sequence["EncoderRecord"]) -> "EncoderRecord":
        """Return the record of features joined along the channels, in the order of the encoders.

        Encoders that are joined already count as their parts; a single encoder stays as it is.
        """
        parts = tuple(part for encoder in encoders for part in (encoder.parts or (encoder,)))
        if len(parts) == 1:
            return parts[0]
        joined = {name: "+".join(getattr(part, name) for part in parts) for name in _TEXT_FIELDS}
        return cls(**joined, parts=parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values that JSON can hold."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _TEXT_FIELDS}
        return {**values, "parts": [part.to_dict() for part in self.parts]} if self.parts else values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EncoderRecord":
        """Read a record that `to_dict` or the pipeline returned.

        Raises:
            TypeError: If `values` is no mapping, or a field is not text.
            ValueError: If a field is missing.
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"encoder must be a mapping of its fields, got {values!r}.")
        missing = [name for name in _TEXT_FIELDS if name not in values]
        if missing:
            raise ValueError(f"encoder lacks {', '.join(missing)}.")
        parts = tuple(cls.from_dict(part) for part in values.get("parts", ()))
        return cls(**{name: values[name] for name in _TEXT_FIELDS}, parts=parts)

    def differences(self, other: "EncoderRecord") -> tuple[str, ...]:
        """Return the fields in which two encoders differ; none if their features are the same.

        The number type is passed over: it moves a feature by rounding only. A digest of the weights
        identifies more than a folder's name, so a renamed folder still holds the same encoder.
        """
        if self.parts or other.parts:
            if len(self.parts) != len(other.parts):
                return ("parts",)
            found = [
                name
                for mine, its in zip(self.parts, other.parts, strict=True)
                for name in mine.differences(its)
            ]
            return tuple(dict.fromkeys(found))
        same_weights = self.revision == other.revision and self.revision.startswith("weights-")
        compared = ("settings_hash",) if same_weights else ("id", "revision", "settings_hash")
        return tuple(name for name in compared if getattr(self, name) != getattr(other, name))

    def __str__(self) -> str:
        return f"{self.id}, revision {self.revision}, settings {self.settings_hash}"


_TEXT_FIELDS = ("id", "revision", "settings_hash", "dtype")


class EncoderMismatchError(ValueError):
    """Features of one encoder were passed to a model that was trained on features of another."""
