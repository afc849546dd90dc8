"""What the files of annotation tools call a video, and the id that it has here."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

from ..reading import BadRowError
from ..types import AnnotatedVideo

# Paths or addresses of videos by id, for files that point to them.
Media = Mapping[str, str]


def id_of_media(name: Any) -> str:  # Any: a part of a parsed file
    """Return the id of a video by its path or address: without suffix, and without folders of a machine."""
    if not isinstance(name, str) or not name.strip():
        raise BadRowError(f"the media file is {name!r}, expected a name.")
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", name) or name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    is_windows = "\\" in name or PureWindowsPath(name).drive
    path = PurePosixPath(PureWindowsPath(name).as_posix() if is_windows else name)
    is_local = path.is_absolute() or bool(PureWindowsPath(name).drive) or ".." in path.parts
    return path.stem if is_local else str(path.with_suffix(""))


def media_of(video: AnnotatedVideo, media: Media) -> str:
    """Return the file of a video; a name made of its id where none is given."""
    return media.get(video.video_id, f"{video.video_id}.mp4")
