"""Repositories of the loopback hub: files, commits, and the names that point at them."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any


class Refusal(Exception):
    """An answer that is not 2xx, with the headers by which the client tells what is the matter."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers
        if code:
            self.headers["X-Error-Code"] = code


@dataclass(frozen=True)
class StoredFile:
    """One file of a commit; the bytes of large ones lie in the store of the hub."""

    oid: str
    size: int
    content: bytes | None = None
    sha256: str | None = None

    @classmethod
    def regular(cls, content: bytes) -> "StoredFile":
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        return cls(oid, len(content), content=content)

    @classmethod
    def large(cls, sha256: str, size: int) -> "StoredFile":
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        return cls(cls.regular(pointer).oid, size, sha256=sha256)

    def describe(self, path: str) -> dict[str, Any]:
        facts: dict[str, Any] = {"type": "file", "path": path, "oid": self.oid, "size": self.size}
        if self.sha256:
            facts["lfs"] = {"oid": self.sha256, "sha256": self.sha256, "size": self.size, "pointerSize": 130}
        return facts


def describe_all(files: dict[str, StoredFile]) -> dict[str, dict[str, Any]]:
    """Describe every file, and every folder that they lie in, by their paths."""
    folders = {str(folder) for path in files for folder in PurePosixPath(path).parents} - {"."}
    described = {path: file.describe(path) for path, file in files.items()}
    described |= {path: {"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders}
    return dict(sorted(described.items()))


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    parent: str | None
    files: dict[str, StoredFile]


@dataclass
class Repository:
    """Commits, and the branches, tags and pull requests that point at them."""

    is_private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, str] = field(default_factory=dict)

    def add(self, title: str, parent: str | None, files: dict[str, StoredFile]) -> Commit:
        tree = {path: file.oid for path, file in sorted(files.items())}
        oid = hashlib.sha1(json.dumps([title, parent, tree, len(self.commits)]).encode()).hexdigest()
        self.commits[oid] = Commit(oid, title, parent, dict(files))
        return self.commits[oid]

    def find(self, revision: str) -> Commit:
        names = {**self.tags, **self.pulls, **self.branches}
        oid = names.get(revision, revision)
        if oid not in self.commits:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def history(self, revision: str) -> Iterator[Commit]:
        commit: Commit | None = self.find(revision)
        while commit is not None:
            yield commit
            commit = self.commits[commit.parent] if commit.parent else None
