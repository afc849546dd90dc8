"""Videos inside tar archives in the WebDataset layout: `key.mp4` beside whatever else has that key."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from bsp_hf.files import BAD_FILE_ERRORS, FeatureFileError, escape_controls

from .items import UnusableVideo, VideoItem, locate, open_file_system
from .walk import is_passed_over, is_video_name

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
# Videos shrink by little. A header takes some hundred times its size in memory.
_UNSUSPICIOUS_BYTES, _MOST_EXPANSION = 1 << 26, 100
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

    The id of a member is its key: its path up to the first dot of its file name, as WebDataset has it, but
    for dots of numbers and dates. A member that leads out of the archive's folder, or is a link or device, is
    unusable, and so is one inside which the archive ends; an archive that is damaged or has no end is named
    too. Hidden files are passed over.
    """
    try:
        with _open_archive(archive) as opened:
            members, problem = _read_headers(opened)
            is_cut = problem is not None and bool(members) and _is_cut(opened, members[-1])
    except (tarfile.TarError, *BAD_FILE_ERRORS) as error:
        raise ValueError(f"{archive} cannot be read as a tar archive: {error}") from error
    for member in members:
        if is_video_name(member.name) and not member.isdir():
            yield from _describe(archive, member, is_cut and member is members[-1])
    if problem is not None:
        yield UnusableVideo(archive, f"{problem}: what follows {members[-1].name!r} is lost")


def member_id(name: str) -> str:
    """Return the path of a member without suffix, which is its id where its key is not its own."""
    return name.removeprefix("./").rpartition(".")[0]


def _read_headers(opened: tarfile.TarFile) -> tuple[list[tarfile.TarInfo], str | None]:
    """Return the videos of an archive and its last member, and what is wrong behind that."""
    members: list[tarfile.TarInfo] = []
    try:
        while (member := opened.next()) is not None:
            if members and member.offset <= members[-1].offset:
                return members, "a damaged header leads back"  # without end
            if members and not is_video_name(members[-1].name):
                members.pop()
            members.append(member)
            opened.members = []  # type: ignore[attr-defined]  # where it would keep them all
        opened.fileobj.seek(opened.offset)  # type: ignore[union-attr]  # it is open
        block = opened.fileobj.read(tarfile.BLOCKSIZE)  # type: ignore[union-attr]
    except FeatureFileError:
        raise
    except (*BAD_FILE_ERRORS, tarfile.TarError) as error:
        return members, f"the archive is damaged ({error})"
    if not block and members:
        return members, "the archive has been cut: it has no end mark"
    return members, "a header is damaged" if block.strip(b"\0") else None


def _is_cut(opened: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    """Return whether the last byte of a member is missing."""
    try:
        opened.fileobj.seek(member.offset_data + member.size - 1)  # type: ignore[union-attr]
        return not opened.fileobj.read(1)  # type: ignore[union-attr]
    except FeatureFileError:
        raise
    except BAD_FILE_ERRORS:
        return True


def _describe(archive: str, member: tarfile.TarInfo, is_cut: bool) -> Iterator[VideoItem | UnusableVideo]:
    name = escape_controls(f"{archive}::{member.name}")
    path = member.name.removeprefix("./")
    parts = [part for part in path.replace("\\", "/").split("/") if part != "."]
    if path.startswith("/") or ".." in parts:
        yield UnusableVideo(name, _LEAVES)
    elif any(map(is_passed_over, parts)):
        return
    elif not member.isreg():
        yield UnusableVideo(name, "it is a link or a device, not a file of its own")
    elif member.issparse():
        yield UnusableVideo(name, "it is stored as a sparse file; pack it without --sparse")
    elif is_cut:
        yield UnusableVideo(name, "the archive ends inside it")
    else:
        key = member_id(member.name)
        folder, slash, leaf = key.rpartition("/")
        while leaf.rpartition(".")[2].isalpha() and leaf.rpartition(".")[0]:
            leaf = leaf.rpartition(".")[0]
        origin = TarMember(archive, member.name, member.offset_data, member.size, float(member.mtime))
        try:
            yield VideoItem(folder + slash + leaf, name, origin)
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
    with _open_file(archive) as file:
        unpacked: Any = _Bounded(archive, file)  # of the methods of a file, those that are called
        with tarfile.open(fileobj=unpacked, mode="r:") as opened:
            yield opened


class _Bounded:
    """The unpacked bytes of an archive, of which a small file must not claim gigabytes or hours."""

    def __init__(self, archive: str, file: BinaryIO) -> None:
        self._archive, self._num_packed = archive, file.seek(0, 2)
        file.seek(0)
        start = file.read(8)
        file.seek(0)
        unpack: Any = next((kind for magic, kind in _COMPRESSIONS.items() if start.startswith(magic)), None)
        self._file: Any = file if unpack is None else unpack(file, "rb")
        self._most = None if unpack is None else max(_UNSUSPICIOUS_BYTES, _MOST_EXPANSION * self._num_packed)
        self.tell, self.close, self.seekable = self._file.tell, self._file.close, self._file.seekable

    def read(self, size: int = -1) -> bytes:
        if self._most is None:
            return self._file.read(min(size, self._num_packed))
        self._check(self.tell() + size)
        return self._file.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        self._check(position)
        return self._file.seek(position, whence)

    def _check(self, position: int) -> None:
        if self._most is not None and position > self._most:
            problem = f"claims {position:,} bytes or more, of which {self._num_packed:,} are stored"
            hint = "the archive is damaged or hostile. If it is neither, unpack it first."
            raise FeatureFileError(self._archive, "its content", f"{problem}; {hint}")
