"""Videos inside tar archives in the WebDataset layout: `key.mp4` beside whatever else has that key."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .items import UnusableVideo, VideoItem, locate, open_file_system
from .walk import is_passed_over, is_video_name

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_LEAVES = "its path leads out of the archive's folder; nothing was read of it"


@dataclass(frozen=True)
class TarMember:
    """A video inside the archive at a path or address: `size` bytes from `offset` on, once unpacked."""

    archive: str
    member: str
    offset: int
    size: int
    mtime: float

    def stamp(self) -> str:
        """Return its place, size and time, and what tells that the archive changed."""
        return f"{self.size} bytes at {self.offset}, {self.mtime}, in {locate(self.archive).stamp()}"

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Return a context manager of an open file of the member; nothing is unpacked to disk."""
        member = tarfile.TarInfo(self.member)
        member.offset_data, member.size = self.offset, self.size
        with _open_archive(self.archive) as archive, archive.extractfile(member) or io.BytesIO() as file:
            yield file  # type: ignore[misc]  # as good as a BinaryIO


def list_tar(archive: str) -> Iterator[VideoItem | UnusableVideo]:
    """List the videos in the archive at a path or address by its headers, in stored order.

    The id of a member is its key: its path up to the first dot of its file name, as WebDataset has it. A
    member that leads out of the archive's folder, or is a link or device, is unusable. Hidden files are
    passed over.
    """
    try:
        with _open_archive(archive) as opened:
            for member in opened:
                if is_video_name(member.name) and not member.isdir():
                    yield from _describe(archive, member)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"{archive} cannot be read as a tar archive: {error}") from error


def _describe(archive: str, member: tarfile.TarInfo) -> Iterator[VideoItem | UnusableVideo]:
    name = f"{archive}::{member.name}"
    path = member.name.removeprefix("./")
    parts = [part for part in path.replace("\\", "/").split("/") if part != "."]
    if path.startswith("/") or ".." in parts:
        yield UnusableVideo(name, _LEAVES)
    elif any(map(is_passed_over, parts)):
        return
    elif not member.isreg():
        yield UnusableVideo(name, "it is a link or a device, not a file of its own")
    else:
        folder, slash, leaf = path.rpartition("/")
        video_id = folder + slash + leaf.split(".")[0]
        origin = TarMember(archive, member.name, member.offset_data, member.size, float(member.mtime))
        try:
            yield VideoItem(video_id, name, origin)
        except ValueError as error:
            yield UnusableVideo(name, str(error))


@contextmanager
def _open_file(archive: str) -> Iterator[BinaryIO]:
    if "://" not in archive:
        with Path(archive).open("rb") as file:
            yield file
        return
    file_system, path = open_file_system(archive)
    with file_system.open(path, "rb") as file:
        yield file


@contextmanager
def _open_archive(archive: str) -> Iterator[tarfile.TarFile]:
    with _open_file(archive) as file, tarfile.open(fileobj=file, mode="r:*") as opened:
        yield opened
