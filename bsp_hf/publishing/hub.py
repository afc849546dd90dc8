"""Publishes a checkpoint folder on the Hub: checked first, in one commit, and read back."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id

from bsp_hf.files import atomic_write_bytes, hash_file
from bsp_hf.publishing.cards.files import (
    CARD_FILE,
    RECORD_FILE,
    find_card_gaps,
    plan_card,
    record_as_json,
)

from .folder_check import check_folder

logger = logging.getLogger(__name__)

MAIN = "main"


class RemoteChangedError(ValueError):
    """The repository has another commit than the one that the upload builds upon."""


@dataclass(frozen=True)
class PublishedFile:
    """One file of a published folder."""

    path: str  # in the repository
    size_bytes: int
    # "new", "changed" or "unchanged", compared with what the repository held before; "planned" in a dry run.
    state: str


@dataclass(frozen=True)
class PublishReport:
    """What [`publish_folder`] did; `str()` of it is a readable summary."""

    repo_id: str
    revision: str  # the branch
    files: tuple[PublishedFile, ...]  # everything that the folder publishes
    left_out: tuple[str, ...] = ()  # working files that were not published
    kept: tuple[str, ...] = ()  # what the repository holds besides
    notes: tuple[str, ...] = ()  # what the owner should know
    commit: str | None = None  # the commit that holds the files; None in a dry run
    url: str | None = None  # of the commit or the pull request
    tag: str | None = None

    @property
    def num_bytes(self) -> int:
        """Size of all the files together."""
        return sum(file.size_bytes for file in self.files)

    def __str__(self) -> str:
        width = max((len(file.path) for file in self.files), default=0)
        lines = [f"  {f.path:<{width}}  {_write_size(f.size_bytes):>9}  {f.state}" for f in self.files]
        total = f"{len(self.files)} files, {_write_size(self.num_bytes)}"
        if self.left_out:
            lines.append(f"  left out: {len(self.left_out)} working files, such as {self.left_out[0]}")
        if self.kept:
            lines.append(f"  in the repository besides: {', '.join(self.kept)}")
        lines += [f"  note: {note}" for note in self.notes]
        if self.commit is None:
            return "\n".join([f"{self.repo_id}@{self.revision}: {total} would be published", *lines])
        head = f"{self.repo_id}@{self.revision}: {total}, commit {self.commit[:12]}"
        head += f", tag {self.tag}" if self.tag else ""
        return "\n".join([head, *lines, f"  {self.url}"])


def publish_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str = MAIN,
    commit_message: str | None = None,
    create_pr: bool = False,
    parent_commit: str | None = None,
    tag: str | None = None,
    card: Mapping[str, Any] | None = None,
    token: str | bool | None = None,
    endpoint: str | None = None,
    dry_run: bool = False,
) -> PublishReport:
    """Publish an encoder or a localizer, so that `pipeline(task, model=repo_id)` loads it anywhere.

    Everything is uploaded in one commit, or nothing is. Call it again to continue an upload that was
    interrupted: large files that arrived are not sent again, nor are files that the repository holds already.
    No symbolic link is followed out of the folder.

    Args:
        folder (`str` or `Path`): What [`save_checkpoint_folder`] or [`save_localizer_folder`] wrote. A model
            card that nobody has edited is rendered again under the name `repo_id`.
        repo_id (`str`): `"owner/name"` on the Hub; made if it does not exist.
        private (`bool`, *optional*): Who may see a new repository; `None` leaves that to the owner's
            settings.
        revision (`str`, *optional*, defaults to `"main"`): The branch; made from `main` if it does not exist.
        commit_message (`str`, *optional*): `None` says what was published.
        create_pr (`bool`, *optional*, defaults to `False`): Open a pull request instead of committing.
        parent_commit (`str`, *optional*): The commit to build upon; by default the newest at the start.
            Either way nothing is published if another commit came in between.
        tag (`str`, *optional*): Tag to set on the commit, such as `"v1.0"`.
        card (`Mapping`, *optional*): What to fill into the model card, such as `{"license": "apache-2.0"}`;
            the names are those in `CARD_FIELDS`.
        token (`str` or `bool`, *optional*): As everywhere in huggingface_hub; `None` takes the saved one.
        endpoint (`str`, *optional*): Address of another Hub. One that does not speak Xet needs the
            environment variable `HF_HUB_DISABLE_XET=1`.
        dry_run (`bool`, *optional*, defaults to `False`): Check the folder and list what would be published,
            without asking the Hub and without writing anything.

    Returns:
        `PublishReport`: What was published, what was not, and where it is.

    Raises:
        NotADirectoryError: If there is no such folder.
        RemoteChangedError: If somebody else committed in the meantime.
        ValueError: If a file is missing, unknown, a link out of the folder or may be a pickle, the weights do
            not load, the card has gaps, the repository is public and was to be private, or what arrived is
            not what was sent.
        OSError: If the Hub cannot be reached or refuses.

    Example:
    ```python
    >>> from bsp_hf import publish_folder
    >>> report = publish_folder("bsp-tsm-r50", "org/bsp-tsm-r50", private=True)  # doctest: +SKIP
    >>> print(report)  # doctest: +SKIP
    ```
    """
    folder = Path(folder)
    validate_repo_id(repo_id)
    if "/" not in repo_id:
        raise ValueError(f"repo_id={repo_id!r} needs its owner, as in 'org/{repo_id}'.")
    if create_pr and tag:
        raise ValueError("a pull request cannot be tagged; tag the commit when it is merged.")
    checked = check_folder(folder)
    problems = list(checked.problems)
    contents: dict[str, bytes] = {}
    if (folder / RECORD_FILE).is_file():
        record, text = plan_card(folder, repo_id, card)
        problems += [f"{CARD_FILE}: {gap}" for gap in find_card_gaps(text, record)]
        contents = {CARD_FILE: text.encode(), RECORD_FILE: record_as_json(record)}
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ValueError(f"{folder} cannot be published:\n{listed}")
    names = sorted({*checked.files, *contents})
    sizes = {name: len(contents.get(name, b"")) or (folder / name).stat().st_size for name in names}
    if dry_run:
        planned = tuple(PublishedFile(name, size, "planned") for name, size in sizes.items())
        return PublishReport(repo_id, revision, planned, checked.left_out, notes=checked.notes)

    for name, content in contents.items():
        if not (folder / name).is_file() or (folder / name).read_bytes() != content:
            atomic_write_bytes(folder / name, content)
    api = HfApi(endpoint=endpoint, token=token, library_name="bsp_hf")
    head = _open_branch(api, repo_id, revision, private, create_pr)
    if parent_commit not in (None, head) and not create_pr:
        raise _conflict(repo_id, revision, str(parent_commit))
    remote = _list_files(api, repo_id, head)
    states = {name: _compare(folder / name, remote.get(name)) for name in names}
    commit, url = head, f"{api.endpoint}/{repo_id}/tree/{head}"
    if changed := [name for name, state in states.items() if state != "unchanged"]:
        info = _commit(
            api,
            repo_id,
            [CommitOperationAdd(name, folder / name) for name in changed],
            commit_message=commit_message or f"Publish {folder.resolve().name}",
            revision=revision,
            create_pr=create_pr,
            parent_commit=parent_commit or head,
        )
        commit, url = info.oid, info.pr_url or info.commit_url
        arrived = _list_files(api, repo_id, commit)
        lost = [name for name in names if _compare(folder / name, arrived.get(name)) != "unchanged"]
        if lost:
            raise ValueError(
                f"{repo_id} at {commit} holds other contents of {', '.join(lost)}; publish again."
            )
    if tag:
        api.create_tag(repo_id, tag=tag, revision=commit)
    logger.info("published %s as %s at %s", folder, repo_id, commit)
    return PublishReport(
        repo_id,
        revision,
        tuple(PublishedFile(name, size, states[name]) for name, size in sizes.items()),
        checked.left_out,
        tuple(sorted(set(remote) - set(names) - {".gitattributes"})),
        checked.notes,
        commit,
        url,
        tag,
    )


def _open_branch(api: HfApi, repo_id: str, revision: str, private: bool | None, create_pr: bool) -> str:
    """Return the newest commit of the branch, after making what has to be made."""
    if not create_pr:  # whoever proposes a change need not own the repository
        api.create_repo(repo_id, private=private, exist_ok=True)
    if private and not api.model_info(repo_id).private:
        raise ValueError(f"{repo_id} exists and is public; make it private on the Hub, or publish elsewhere.")
    try:
        return str(api.model_info(repo_id, revision=revision).sha)
    except RevisionNotFoundError:
        api.create_branch(repo_id, branch=revision)
        return str(api.model_info(repo_id, revision=revision).sha)


def _list_files(api: HfApi, repo_id: str, commit: str) -> dict[str, RepoFile]:
    entries = api.list_repo_tree(repo_id, recursive=True, revision=commit)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def _compare(path: Path, remote: RepoFile | None) -> str:
    if remote is None:
        return "new"
    size = path.stat().st_size
    if size != remote.size:
        return "changed"
    # Large files are known by the digest of their content, others by that of git.
    if remote.lfs:
        return "unchanged" if hash_file(path) == remote.lfs.sha256 else "changed"
    return "unchanged" if hash_file(path, "sha1", b"blob %d\0" % size) == remote.blob_id else "changed"


def _commit(api: HfApi, repo_id: str, operations: list[CommitOperationAdd], **options: Any) -> Any:
    again = "Publish again to continue; what has arrived is not sent again."
    try:
        return api.create_commit(repo_id, operations, **options)
    except HfHubHTTPError as error:
        if error.response.status_code == 412:
            raise _conflict(repo_id, options["revision"], options["parent_commit"]) from error
        if "xet" in str(error.response.url):
            raise OSError(
                f"{api.endpoint} does not speak Xet; set HF_HUB_DISABLE_XET=1 and publish again."
            ) from error
        raise
    except RuntimeError as error:  # what the client raises when a large file did not get through
        raise OSError(f"{error} {error.__cause__ or ''} {again}") from error


def _conflict(repo_id: str, revision: str, parent_commit: str) -> RemoteChangedError:
    return RemoteChangedError(
        f"{repo_id}@{revision} is not at {parent_commit[:12]}: somebody else committed to it. Look at what "
        "changed, then publish again."
    )


def _write_size(num_bytes: int) -> str:
    if num_bytes < 1000:
        return f"{num_bytes} B"
    for unit, scale in (("kB", 1e3), ("MB", 1e6)):
        if num_bytes < 1000 * scale:
            return f"{num_bytes / scale:.1f} {unit}"
    return f"{num_bytes / 1e9:.2f} GB"
