"""Whole files or none, names that stay in their folder, and the error that names a bad file and field."""

import pickle
import shutil
import tokenize
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath

from safetensors import SafetensorError

# What numpy, h5py, torch, safetensors, csv and json raise on damaged or hostile files.
_BAD_FILE_ERRORS = (
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
    """Turn what a library says about a damaged file into a [`FeatureFileError`].

    Args:
        path (`Path`): The file being read.
        field (`str`): The part of it being read.

    Raises:
        FeatureFileError: If anything inside finds the file bad.
        FileNotFoundError: If the file is not there; passed on as it is, like `PermissionError`.
    """
    try:
        yield
    except (FeatureFileError, FileNotFoundError, PermissionError):
        raise
    except _BAD_FILE_ERRORS as error:
        raise FeatureFileError(path, field, f"cannot be read: {error or type(error).__name__}") from error


@contextmanager
def replace_when_done(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target` to write a file or folder at, then rename it.

    A reader sees the old content or the new, never a part; a failure leaves the old. A folder that is
    replaced is absent for the moment between two renames.

    Args:
        target (`Path`): The file or folder to make. Missing parent folders are made.

    Yields:
        `Path`: Where to write.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Hidden and short: long video ids leave no room for a longer name than their own.
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        if temporary.is_dir() and target.is_dir():  # a folder cannot be renamed onto another
            replaced = target.with_name(f".{uuid.uuid4().hex}.tmp")
            target.rename(replaced)
            try:
                temporary.rename(target)
            except OSError:
                replaced.rename(target)
                raise
            shutil.rmtree(replaced)
        else:
            temporary.replace(target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def check_video_id(video_id: str) -> None:
    """Refuse an id that cannot be the name of a file in a folder.

    Ids come from annotations that others wrote, so none may lead out of its folder. `"kitchen/v1"` is fine.

    Args:
        video_id (`str`): The id.

    Raises:
        TypeError: If it is not a string.
        ValueError: If it is empty, absolute, or holds `..`, an empty part, a backslash or a control
            character.
    """
    if not isinstance(video_id, str):
        raise TypeError(f"a video id must be a string, got {video_id!r}.")
    parts = video_id.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or "\\" in video_id
        or PureWindowsPath(video_id).drive
        or not video_id.isprintable()
    ):
        raise ValueError(
            f"{video_id!r} cannot be a video id: it must name a file inside a folder, as in 'v_abc' or "
            "'kitchen/v_abc'."
        )


def path_in_folder(folder: Path, name: str, suffix: str) -> Path:
    """Return the file of a video, `folder/name + suffix`.

    Args:
        folder (`Path`): The folder.
        name (`str`): Video id, with its prefix if there is one.
        suffix (`str`): End of the file name, with the dot.

    Returns:
        `Path`: A path inside `folder`.

    Raises:
        ValueError: If the name leads out of the folder.
    """
    check_video_id(name)
    return folder / f"{name}{suffix}"


class OutputError(OSError):
    """The output cannot be written: no room, no permission, or a disk that is away."""


@contextmanager
def explain_write_errors(output: Path) -> Iterator[None]:
    """Turn what the libraries say about an output that cannot be written into one clear error.

    Args:
        output (`Path`): What is being written.

    Raises:
        OutputError: If anything inside cannot write.
    """
    try:
        yield
    except OutputError:
        raise
    except (
        OSError,
        RuntimeError,
        SafetensorError,
    ) as error:  # torch and safetensors have errors of their own
        reason = str(error) or type(error).__name__
        raise OutputError(
            f"{output} cannot be written ({reason}). Make room or give permission and start again: what is "
            "finished is kept, and nothing half-written is left under its name."
        ) from error
