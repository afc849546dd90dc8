"""A video and where its bytes are: in a file, at an address, in memory."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from bsp_hf.encoder.video_source import VideoSource
from bsp_hf.files import check_video_id

_DIGESTED_BYTES = 64 * 1024
# What file systems of fsspec call the version of a file, in small letters only.
_VERSION_KEYS = (
    *(
        "etag",
        "generation",
        "versionid",
        "blobid",
        "contentmd5",
        "digest",
        "md5",
        "md5hash",
        "sha256",
        "crc32c",
    ),
    *("checksum", "lastmodified", "mtime", "modify", "modified", "modificationtime", "updated"),
)


class VideoOrigin(Protocol):
    """Where the bytes of a video are; picklable, so that another process may open it."""

    def stamp(self) -> str:
        """Return what changes whenever the bytes do."""

    def open(self) -> AbstractContextManager[VideoSource]:
        """Return a context manager of what the decoder reads."""


@dataclass(frozen=True)
class LocalFile:
    """A file of its own.

    Choice: size and time of change say whether it is the same; reading every byte of every video at each
    start would take longer than most jobs.
    """

    path: Path

    def stamp(self) -> str:
        """Return its size in bytes and time of change in nanoseconds."""
        status = os.stat(self.path)
        return f"{status.st_size} bytes, changed at {status.st_mtime_ns} ns"

    @contextmanager
    def open(self) -> Iterator[Path]:
        """Return a context manager of the path, which the decoder opens."""
        yield self.path


@dataclass(frozen=True)
class RemoteFile:
    """A file that fsspec reads: `s3://`, `hf://`, `gs://`, `memory://` and so on."""

    url: str

    def stamp(self) -> str:
        """Return what its file system says of its version, such as size, time and ETag.

        Where it says nothing, the bytes at both ends are read. `ukey` of fsspec would be the address alone
        over HTTP, whatever lies there.
        """
        file_system, path = open_file_system(self.url)
        info = file_system.info(path)
        known = {key.lower().replace("-", "").replace("_", ""): value for key, value in info.items()}
        version = {key: str(known[key]) for key in _VERSION_KEYS if known.get(key) is not None}
        if not version:
            try:
                version["modified"] = str(file_system.modified(path))
            except (NotImplementedError, AttributeError, KeyError, TypeError):
                with self.open() as file:
                    version["start"] = hashlib.sha256(file.read(_DIGESTED_BYTES)).hexdigest()
                    if info.get("size"):
                        file.seek(max(0, info["size"] - _DIGESTED_BYTES))
                        version["end"] = hashlib.sha256(file.read(_DIGESTED_BYTES)).hexdigest()
        return ", ".join([f"{info.get('size')} bytes", *(f"{key} {text}" for key, text in version.items())])

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Return a context manager of an open file that fetches what is read of it."""
        file_system, path = open_file_system(self.url)
        with file_system.open(path, "rb") as file:
            yield file


@dataclass(frozen=True)
class VideoBytes:
    """A video in memory."""

    data: bytes

    def stamp(self) -> str:
        """Return [`stamp_bytes`] of them."""
        return stamp_bytes(memoryview(self.data))

    @contextmanager
    def open(self) -> Iterator[bytes]:
        """Return a context manager of the bytes."""
        yield self.data


@dataclass(frozen=True)
class VideoItem:
    """One video, or a part of one, to extract features of.

    Args:
        video_id (`str`): Its id, which names its output: a relative path without suffix.
        name (`str`): What to call it in messages and in `failures.csv`; a path or an address.
        origin (`VideoOrigin`): Where its bytes are.
        start_s (`float`, *optional*, defaults to 0.0): First second.
        end_s (`float`, *optional*): End in seconds, exclusive; by default that of the video.

    Raises:
        ValueError: If the id cannot name a file in a folder, or the part is empty.
    """

    video_id: str
    name: str
    origin: VideoOrigin
    start_s: float = 0.0
    end_s: float | None = None

    def __post_init__(self) -> None:
        check_video_id(self.video_id)
        if any(part.startswith(".") for part in self.video_id.split("/")):
            raise ValueError(
                f"{self.video_id!r} cannot be a video id here: files that begin with a dot are hidden from "
                "whoever reads the features."
            )
        if not self.start_s >= 0 or (self.end_s is not None and not self.end_s > self.start_s):
            raise ValueError(
                f"{self.video_id}: start_s must not be negative and end_s must be later, got {self.start_s} "
                f"and {self.end_s}."
            )

    def cut(self, start_s: float, end_s: float | None) -> "VideoItem":
        """Return the same video with a range in seconds, unless it has one of its own."""
        if self.start_s or self.end_s is not None:
            return self
        return replace(self, start_s=start_s, end_s=end_s)


@dataclass(frozen=True)
class UnusableVideo:
    """An input that cannot even be tried; it is reported like a video that failed.

    Args:
        name (`str`): What it is called where it was found.
        reason (`str`): Why it cannot be used.
    """

    name: str
    reason: str


class InputCollisionError(ValueError):
    """Two inputs would write to one output."""


def open_file_system(url: str) -> tuple[Any, str]:  # Any: an fsspec file system
    """Return the file system of an address `protocol://path`, and the path in it."""
    import fsspec

    protocol = url.split("://", 1)[0]
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ImportError(f"{url}: {protocol}:// needs another package: {error}") from error
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from error


def locate(path_or_url: str | Path) -> LocalFile | RemoteFile:
    """Return the file at a path or an address."""
    text = os.fspath(path_or_url)
    return RemoteFile(text) if "://" in text else LocalFile(Path(text))


def stamp_bytes(data: memoryview) -> str:
    """Return what changes whenever the bytes of a video do.

    Choice: their number and the digest of both ends, where containers keep the sizes and times of all frames;
    digesting every byte of a large data set at each start would take longer than most jobs.
    """
    digest = hashlib.sha256(data[:_DIGESTED_BYTES])
    digest.update(data[-_DIGESTED_BYTES:])
    return f"sha256 of both ends {digest.hexdigest()}, {len(data)} bytes"
