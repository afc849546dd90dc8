"""Which files of a folder are videos."""

import os
from pathlib import Path

# Files of other names are taken only where they are named one by one.
# fmt: off
VIDEO_SUFFIXES = frozenset((
    ".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts",
    ".gif", ".flv", ".f4v", ".wmv", ".asf", ".3gp", ".3g2", ".ogv", ".vob", ".mxf", ".dv", ".divx",
    ".rm", ".rmvb", ".h264", ".264", ".h265", ".265", ".hevc", ".av1", ".ivf", ".obu", ".y4m",
    ".mjpeg", ".mjpg", ".vc1", ".nut"
))
# fmt: on
# Copies, thumbnails and deleted files that systems and archivers keep among those of their users.
_SYSTEM_FOLDERS = frozenset(
    ("__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
)


def is_video_name(name: str) -> bool:
    """Return whether a file of this name or path is taken for a video."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def is_passed_over(name: str) -> bool:
    """Return whether a file or folder of this name is hidden or the system's own."""
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def walk_videos(folder: Path) -> list[Path]:
    """Return the videos in a folder and under it, in the order of [`walk_files`]."""
    return [path for path in walk_files(folder) if is_video_name(path.name)]


def walk_files(folder: Path) -> list[Path]:
    """Return all files in a folder and under it, sorted by the parts of their paths on every system.

    Hidden and system files and folders are passed over. Links are followed, each folder is listed once: at
    its own place if that is under `folder`, else at the first link to it.
    """
    root = os.path.realpath(folder)
    found, seen = [], {root}
    for parent, folders, files in os.walk(folder, followlinks=True):
        entered = []
        for name in sorted(folders):
            path = os.path.join(parent, name)
            real = os.path.realpath(path)
            if not (
                is_passed_over(name) or real in seen or (os.path.islink(path) and _is_listed(real, root))
            ):
                seen.add(real)
                entered.append(name)
        folders[:] = entered
        found += [Path(parent, name) for name in files if not is_passed_over(name)]
    return sorted(found, key=lambda path: path.parts)


def _is_listed(path: str, root: str) -> bool:
    """Return whether a walk from `root` comes to `path` without a link."""
    inside = os.path.relpath(path, root).split(os.sep) if path.startswith(os.path.join(root, "")) else []
    return bool(inside) and not any(map(is_passed_over, inside))
