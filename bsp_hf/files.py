"""Whole files or none, names that stay in their folder, and the error that names a bad file and field."""

import codecs
import ctypes
import hashlib
import json
import lzma
import os
import pickle
import re
import shutil
import socket
import struct
import sys
import time
import tokenize
import uuid
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath

import psutil
from safetensors import SafetensorError, safe_open

if sys.platform != "win32":
    import fcntl

_UNSUSPICIOUS_BYTES, _MOST_EXPANSION = 1 << 28, 100
_NO_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udc7f\udd00-\udfff]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# What numpy, h5py, torch, safetensors, csv and json raise on damaged or hostile files.
BAD_FILE_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    OSError,
    RuntimeError,
    MemoryError,
    OverflowError,
    SyntaxError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,  # numpy parses the header of an npy file as Python
    SafetensorError,
)


class FeatureFileError(ValueError):
    """A feature file that is damaged, or not what it was taken for.

    Args:
        path (`Path`): The file.
        field (`str`): The part of it that is wrong, e.g. `"features"` or `"fps"`.
        problem (`str`): What is wrong with it, and what to do.
    """

    def __init__(self, path: str | Path, field: str, problem: str) -> None:
        super().__init__(path, field, problem)
        self.path, self.field, self.problem = Path(path), field, problem

    def __str__(self) -> str:
        return f"{self.path}: {self.field}: {self.problem}"


class MissingFeaturesError(FileNotFoundError):
    """There are no features of a video where they were looked for."""


@contextmanager
def blame_file(path: Path, field: str) -> Iterator[None]:
    """Turn the errors of a library that reads a part of a damaged file into a [`FeatureFileError`].

    A file that is not there or may not be read raises what it raises.
    """
    try:
        yield
    except (FeatureFileError, FileNotFoundError, PermissionError):
        raise
    except BAD_FILE_ERRORS as error:
        raise FeatureFileError(path, field, f"cannot be read: {error or type(error).__name__}") from error


def check_expansion(path: Path, field: str, num_bytes: int, stored_bytes: int | None = None) -> None:
    """Raise a [`FeatureFileError`] if a part claims far more memory than its file, or `stored_bytes`, fills.

    Zeros shrink a thousandfold and arrays without content take no room at all; features shrink by little.
    """
    stored = path.stat().st_size if stored_bytes is None else stored_bytes
    if num_bytes > max(_UNSUSPICIOUS_BYTES, _MOST_EXPANSION * stored):
        problem = (
            f"claims {num_bytes:,} bytes, of which {stored:,} are stored; the file is damaged or hostile."
        )
        raise FeatureFileError(path, field, problem)


def check_checkpoint_files(folder: Path) -> None:
    """Check that a checkpoint's settings are JSON objects and its weights whole; raise a `ValueError`."""
    names = ["config.json", "preprocessor_config.json"]
    weights = ["model.safetensors"]
    if not (folder / weights[0]).is_file():
        names.append("model.safetensors.index.json")
    for name in names:
        if not (folder / name).is_file():
            continue
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{folder / name} is no JSON that can be read: {error}.") from error
        if not isinstance(content, dict):
            raise ValueError(f"{folder / name} must hold a JSON object, not a {type(content).__name__}.")
        if name.endswith(".index.json"):
            shards = content.get("weight_map")
            weights = [str(file) for file in shards.values()] if isinstance(shards, dict) else []
            if not weights or not all(
                Path(file).name == file and (folder / file).is_file() for file in weights
            ):
                raise ValueError(f"{folder / name}: weight_map must name a file beside it for each weight.")
    for name in sorted(weights):
        try:
            if (folder / name).is_file():
                with safe_open(folder / name, framework="np"):
                    pass
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{folder}: the weights cannot be read from {name} ({error}); is it complete?"
            ) from error


@contextmanager
def atomic_file(path: str | Path, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path to write a file at, which is flushed and renamed to `path` at the end.

    A reader sees the old content or the new, never a part; a failure leaves the old. The temporary
    path is in `scratch`, an existing folder on the same disk, or beside `path`. Missing parents are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hidden and short: long video ids leave no room for a longer name than their own.
    temporary = (path.parent if scratch is None else scratch) / f".{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: str | Path, content: bytes, scratch: Path | None = None) -> None:
    """Write a file in one step, as [`atomic_file`] does."""
    with atomic_file(path, scratch) as temporary:
        temporary.write_bytes(content)


def atomic_write_text(path: str | Path, text: str, scratch: Path | None = None) -> None:
    r"""Write a UTF-8 file with `\n` line ends in one step, as [`atomic_file`] does."""
    atomic_write_bytes(path, text.encode("utf-8"), scratch)


@contextmanager
def atomic_folder(
    path: str | Path, keep_others: bool = False, without: Collection[str] = ()
) -> Iterator[Path]:
    """Yield an empty temporary folder to write in, which is flushed and replaces `path` at the end.

    On Linux and macOS either the old or the new folder stands whole at `path` at every moment; elsewhere the
    old one is absent between two renames, and the next call restores it if that is where it was interrupted.
    A failure leaves the old folder. What an interrupted call left beside `path` is deleted by the next.
    Missing parent folders are made. With `keep_others` the old folder's files that were not written anew are
    kept, but for those at its top that match the patterns `without`.
    """
    path = Path(path).resolve()  # a link stays, and the folder that it points to is replaced
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{path} is a file; pass a folder, or remove the file.")
    if os.path.ismount(path):
        raise OSError(f"{path} is a volume, which cannot be replaced as a whole; pass a folder in it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(path)
    temporary = _name_aside(path, "tmp")
    try:
        temporary.mkdir()
    except PermissionError as error:
        raise PermissionError(
            f"{path} cannot be replaced as a whole without permission to write in {path.parent}; pass a "
            "folder in another place."
        ) from error
    lock = None
    with suppress(BlockingIOError):  # another call just asks whether it is locked
        lock = _lock_folder(temporary)
    try:
        yield temporary
        if keep_others and path.is_dir():
            link_missing(path, temporary, without)
        for item in temporary.rglob("*"):
            _flush(item)
        _flush(temporary)
        _replace_folder(temporary, path)
    finally:
        # The old folder after an exchange. What cannot be deleted, such as a file that is open on Windows, is
        # deleted by the next call.
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _replace_folder(new: Path, path: Path) -> None:
    if not path.exists():
        new.rename(path)
    elif not _exchange(new, path):
        old = _name_aside(path, "old")
        path.rename(old)
        try:
            new.rename(path)
        except OSError:
            old.rename(path)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; return False where the system or the disk cannot."""
    if sys.platform not in ("linux", "darwin"):
        return False
    library = ctypes.CDLL(None)
    names = os.fsencode(first), os.fsencode(second)
    if hasattr(library, "renameat2"):  # Linux; with AT_FDCWD and RENAME_EXCHANGE
        return library.renameat2(-100, names[0], -100, names[1], 2) == 0
    if hasattr(library, "renamex_np"):  # macOS; with RENAME_SWAP
        return library.renamex_np(*names, 2) == 0
    return False


def _name_aside(path: Path, suffix: str) -> Path:
    """Return a new hidden name beside `path` that says which process on which machine it belongs to."""
    process = f"{_host()}-{os.getpid()}-{psutil.Process().create_time():.0f}"
    return path.with_name(f"{_prefix_aside(path)}-{process}-{uuid.uuid4().hex[:8]}.{suffix}")


def _prefix_aside(path: Path) -> str:
    return "." + hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _clear_leftovers(path: Path) -> None:
    """Delete what interrupted calls left beside `path`, and restore the old folder if there is none."""
    for left in sorted(path.parent.glob(f"{_prefix_aside(path)}-*")):
        if _is_abandoned(left):
            if left.suffix == ".old" and not path.exists():
                left.rename(path)
            else:
                shutil.rmtree(left, ignore_errors=True)


def _lock_folder(folder: Path) -> int | None:
    """Return a descriptor that locks a folder, where the system and the disk can; raise if another does."""
    if sys.platform == "win32":
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def _is_abandoned(folder: Path) -> bool:
    # Names of hosts and processes coincide in containers, and start times move when the clock is set: what is
    # locked is at work, whatever they say.
    try:
        lock = _lock_folder(folder)
    except OSError:
        return False
    if lock is not None:
        os.close(lock)
    _, host, pid, started_s, _ = folder.name.split("-")
    if host == _host():
        return not is_running(int(pid), float(started_s))
    try:  # the processes of another machine cannot be looked up
        return time.time() - folder.stat().st_mtime > 24 * 3600
    except FileNotFoundError:  # another process has just cleared it
        return False


def is_running(pid: int, started_s: float) -> bool:
    """Return whether the process of a number that started at a time still runs; numbers are used again."""
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - started_s) < 2  # start times are known to about a second
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def link_missing(old: Path, new: Path, without: Collection[str] = ()) -> None:
    """Link, or copy, the files of an old folder that a new one does not have."""
    for item in old.iterdir():
        target = new / item.name
        if any(item.match(pattern) for pattern in without):
            continue
        if item.is_dir() and not item.is_symlink():
            target.mkdir(exist_ok=True)
            link_missing(item, target)
        elif not target.exists():
            try:
                os.link(item, target, follow_symlinks=False)
            except (OSError, NotImplementedError):  # a disk or a system without such links
                shutil.copy2(item, target, follow_symlinks=False)


def _flush(path: Path) -> None:
    """Have the system write a file or folder to disk, so that its new name never outlives its content."""
    if path.is_symlink() or (path.is_dir() and os.name == "nt"):
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hash_file(path: Path, algorithm: str = "sha256", start: bytes = b"") -> str:
    """Return the digest of `start` and a file, in hexadecimal digits."""
    digest = hashlib.new(algorithm, start, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_video_id(video_id: str) -> None:
    """Check that an id can be the name of a file in a folder, like `"kitchen/v1"`.

    Ids come from annotations that others wrote, so none may lead out of its folder.
    Half a surrogate pair is no id either, but what Python makes of bytes that are not UTF-8 is one.
    """
    if not isinstance(video_id, str):
        raise TypeError(f"a video id must be a string, got {video_id!r}.")
    parts = video_id.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or "\\" in video_id
        or PureWindowsPath(video_id).drive
        or _NO_NAME.search(video_id)
    ):
        raise ValueError(
            f"{video_id!r} cannot be a video id: it must name a file inside a folder, as in 'v_abc' or "
            "'kitchen/v_abc', without backslashes and control characters."
        )


def escape_controls(text: str) -> str:
    """Return a text on one line that any terminal and UTF-8 file takes, as a name in a message."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def guess_encoding(path: Path) -> str:
    """Return the encoding of a text file by its byte order mark, or by its zeros; `"utf-8-sig"` without."""
    with path.open("rb") as file:
        start = file.read(4)
    if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = "".join("0" if byte == 0 else "x" for byte in start)
    return {"x0x0": "utf-16-le", "0x0x": "utf-16-be"}.get(zeros, "utf-8-sig")


def path_in_folder(folder: Path, name: str, suffix: str) -> Path:
    """Return the file of a video, `folder/name + suffix`, or raise as [`check_video_id`] does."""
    check_video_id(name)
    return folder / f"{name}{suffix}"


class OutputError(OSError):
    """The output cannot be written: no room, no permission, or a disk that is away."""


@contextmanager
def explain_write_errors(output: Path) -> Iterator[None]:
    """Turn the errors of libraries that cannot write an output into an [`OutputError`]."""
    try:
        yield
    except OutputError:
        raise
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have their own
        reason = str(error) or type(error).__name__
        raise OutputError(
            f"{output} cannot be written ({reason}). Make room or give permission and start again: what is "
            "finished is kept, and nothing half-written is left under its name."
        ) from error
