"""What a video is read from (a local file, bytes, an open file; no address), and the errors that name it."""

import errno
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

# The first pictures of a raw MJPEG stream are found in so many bytes.
_MOST_JPEG_BYTES = 1 << 26

VideoSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


class VideoDecodeError(ValueError):
    """A file that gives no frames, or not the frames that were asked for.

    Args:
        file (`str`): Name of the file.
        reason (`str`): What is wrong with it.
    """

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)  # both, so that the error can be pickled by a worker process
        self.file = file
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class PartialVideoWarning(UserWarning):
    """A file gave fewer or worse frames than it should have; `VideoReport.reason` says which."""


class GuardedFile:
    """The caller's file as FFmpeg may use it: from its beginning, no more than asked for, never closed."""

    before_read: Callable[[], None] | None = None
    """Called before each read; raises when it is time to give up."""

    def __init__(self, file: BinaryIO) -> None:
        if not hasattr(file, "read"):
            raise TypeError(
                f"A video is read from a path, bytes or an open binary file, not from {type(file).__name__}."
            )
        self._file = file
        self.name = str(getattr(file, "name", "") or "")
        self._is_seekable = file.seekable() if hasattr(file, "seekable") else hasattr(file, "seek")
        if self._is_seekable:
            file.seek(0)

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; none at the end."""
        if self.before_read is not None:
            self.before_read()
        data = self._file.read(size)
        if data is None:
            raise BlockingIOError(
                errno.EAGAIN, "the file has no data yet; a video is read from a blocking file"
            )
        if not isinstance(data, bytes):
            raise TypeError(f"the file gives {type(data).__name__}, not bytes; open it in binary mode")
        if len(data) > size:  # FFmpeg's buffer ends there
            raise OSError(errno.EIO, f"the file gave {len(data)} bytes when asked for {size}")
        return data

    def seekable(self) -> bool:
        """Return whether the file can go back."""
        return self._is_seekable

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()


def resolve_source(source: VideoSource) -> tuple[str, str | GuardedFile]:
    """Return the name of a source for messages, and what the demuxer reads: an absolute path or a file.

    Raises:
        FileNotFoundError: If there is no such file. An address (`https://...`) is no file: nothing is
            fetched.
        IsADirectoryError: If the path is a folder.
        VideoDecodeError: If the file is empty or is a device, pipe or socket, which may never end.
        TypeError: If it is none of the three.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        name = f"<{len(data)} bytes>"
        if not data:
            raise VideoDecodeError(name, "there are no bytes in it")
        return name, GuardedFile(io.BytesIO(data))
    if not isinstance(source, (str, os.PathLike)):
        return str(getattr(source, "name", None) or f"<{type(source).__name__}>"), GuardedFile(source)
    path = Path(source)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "A video file was expected, this is a folder", str(path))
    if not path.exists():
        hint = "; addresses are not fetched, download the file first" if "://" in str(source) else ""
        raise FileNotFoundError(errno.ENOENT, f"No such video file{hint}", str(source))
    if not path.is_file():
        raise VideoDecodeError(str(path), "it is not a regular file but a device, pipe or socket")
    if path.stat().st_size == 0:
        raise VideoDecodeError(str(path), "the file is empty")
    # Absolute, so that no part of a name ("concat:...", "pipe:0") is taken for a protocol.
    return str(path), str(path.absolute())


def begins_like_mp4(opened: str | GuardedFile) -> bool:
    """Return whether the first bytes are those of an mp4 or QuickTime file."""
    return _read_head(opened, 8)[4:] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")


def is_raw_mjpeg(opened: str | GuardedFile) -> bool:
    """Return whether a file named so is JPEG pictures one after another; FFmpeg takes it for one picture."""
    name = opened if isinstance(opened, str) else opened.name
    if not name.lower().endswith((".mjpeg", ".mjpg")):
        return False
    head = _read_head(opened, _MOST_JPEG_BYTES)
    return head[:3] == b"\xff\xd8\xff" and re.search(rb"\xff\xd9[\0\xff]*\xff\xd8\xff", head) is not None


def _read_head(opened: str | GuardedFile, size: int) -> bytes:
    try:
        if isinstance(opened, str):
            with open(opened, "rb") as file:
                return file.read(size)
        if not opened.seekable():
            return b""
        opened.seek(0)
        head = opened.read(size)
        opened.seek(0)
        return head
    except (OSError, TypeError, ValueError):
        return b""
