"""A Hub on the loopback interface, for the real client: what the tests may expect of the protocol, in memory.

It is written from the client's side of the protocol. What it proves is that the calls this package makes are
right and complete, not what rules the real Hub has beside them.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from support.hub_repositories import Refusal, Repository, StoredFile, describe_all

TOKEN = "hf_loopback"
USER = "org"
EMPTY_COMMIT = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
KINDS = {"models": "", "datasets": "datasets/", "spaces": "spaces/"}


class LoopbackHub:
    """The state of the hub; `url` is what `HF_ENDPOINT` has to be.

    `uploads` lists the digests of large files that were sent. `on_upload` is called before each of them with
    their number so far; what it raises is the answer.
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.store: dict[str, bytes] = {}
        self.uploads: list[str] = []
        self.requests: list[str] = []
        self.on_upload: Callable[[int], None] = lambda number: None
        self.lock = threading.Lock()
        hub = self
        handler = type("Handler", (_Handler,), {"hub": hub})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        # Another host to the client, as the Hub's own store of large files is.
        self.cdn_url = f"http://localhost:{self.server.server_port}"

    def environment(self, home: Any) -> dict[str, str]:
        """What a process needs in order to take this for the Hub."""
        return {"HF_ENDPOINT": self.url, "HF_TOKEN": TOKEN, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"} | {
            "HF_HUB_DISABLE_XET": "1",  # it asks no server whether it speaks xet
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def read(self, repo_id: str, path: str, revision: str = "main", kind: str = "models") -> bytes:
        file = self.repositories[kind, repo_id].find(revision).files[path]
        return self.store[file.sha256] if file.sha256 else file.content or b""


@contextmanager
def serve_hub() -> Iterator[LoopbackHub]:
    """Run a hub while the block runs."""
    hub = LoopbackHub()
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def log_message(self, *args: Any) -> None:
        """Say nothing; `hub.requests` has it all."""

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def answer(self) -> None:
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append(f"{self.command} {url.path}")
        try:
            method = "GET" if self.command == "HEAD" else self.command
            for verb, pattern, handle in _ROUTES:
                found = re.fullmatch(pattern, url.path)
                if verb == method and found:
                    with self.hub.lock:
                        handle(self, *(unquote(part or "") for part in found.groups()))
                    return
            raise Refusal(404, f"no route for {self.command} {url.path}")
        except Refusal as refusal:
            self.send({"error": refusal.message}, refusal.status, **refusal.headers)

    def send(self, content: Any, status: int = 200, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data))} | headers
        if status >= 400 and not isinstance(content, bytes):
            headers["X-Error-Message"] = content.get("error", "")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def is_owner(self) -> bool:
        given = self.headers.get("Authorization")
        if given is not None and given != f"Bearer {TOKEN}":
            raise Refusal(401, "Invalid credentials in Authorization header")
        return given is not None

    def require_owner(self) -> None:
        if not self.is_owner():
            raise Refusal(401, "Invalid username or password.")

    def repository(self, kind: str, repo_id: str) -> Repository:
        repository = self.hub.repositories.get((kind, repo_id))
        is_owner = self.is_owner()
        if repository is None or (repository.is_private and not is_owner):
            # Whoever may not see a repository is not told whether there is one.
            raise (
                Refusal(404, "Repository not found", "RepoNotFound")
                if is_owner
                else Refusal(401, "Invalid username or password.")
            )
        return repository

    def who_am_i(self) -> None:
        self.require_owner()
        self.send({"type": "user", "name": USER, "orgs": [], "auth": {"type": "access_token"}})

    def create_repository(self) -> None:
        self.require_owner()
        request = self.json
        repo_id = f"{request.get('organization') or USER}/{request['name']}"
        kind = f"{request.get('type', 'model')}s"
        url = f"{self.hub.url}/{KINDS[kind]}{repo_id}"
        if (kind, repo_id) in self.hub.repositories:
            self.send({"error": "You already created this model repo", "url": url, "id": repo_id}, 409)
            return
        is_private = request.get("visibility") == "private" or bool(request.get("private"))
        repository = Repository(is_private)
        files = {path: StoredFile.regular(content) for path, content in EMPTY_COMMIT.items()}
        repository.branches["main"] = repository.add("initial commit", None, files).oid
        self.hub.repositories[kind, repo_id] = repository
        self.send({"url": url, "id": repo_id, "name": repo_id})

    def validate_yaml(self) -> None:
        found = re.match(r"---\n(.*?)\n---", self.json["content"], re.S)
        warnings = [] if found else [{"message": "empty or missing yaml metadata in repo card"}]
        try:
            metadata = yaml.safe_load(found[1]) if found else {}
            wrong = [] if isinstance(metadata, dict) else ["the metadata are no mapping"]
            wrong += [f'"{key}" must be a string' for key in ("license", "pipeline_tag", "library_name")
                      if not isinstance(metadata.get(key, ""), str)]  # fmt: skip
        except yaml.YAMLError as error:
            wrong = [str(error)]
        errors = [{"message": message} for message in wrong]
        self.send({"errors": errors, "warnings": warnings}, 400 if errors else 200)

    def preupload(self, kind: str, repo_id: str, revision: str) -> None:
        self.require_owner()
        files = self.repository(kind, repo_id).find(revision).files
        answers = []
        for file in self.json["files"]:
            try:
                base64.b64decode(file["sample"]).decode()
                is_text = True
            except UnicodeDecodeError:
                is_text = False
            is_large = not is_text or file["size"] > 10_000_000 or file["path"].endswith(".safetensors")
            known = files.get(file["path"])
            answer = {"path": file["path"], "uploadMode": "lfs" if is_large else "regular"}
            answer["shouldIgnore"] = False
            answers.append(answer | ({"oid": known.sha256 or known.oid} if known else {}))
        self.send({"files": answers})

    def lfs_batch(self, kind: str, repo_id: str) -> None:
        self.require_owner()
        self.repository(kind.strip("/") or "models", repo_id)
        objects = []
        for wanted in self.json["objects"]:
            action = {"upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"}}
            missing = wanted["oid"] not in self.hub.store
            objects.append({**wanted, "authenticated": True, **({"actions": action} if missing else {})})
        self.send({"transfer": "basic", "objects": objects})

    def lfs_put(self, digest: str) -> None:
        self.hub.on_upload(len(self.hub.uploads))
        if hashlib.sha256(self.body).hexdigest() != digest:
            raise Refusal(400, f"the content is not that of {digest}")
        self.hub.uploads.append(digest)
        self.hub.store[digest] = self.body
        self.send({})

    def commit(self, kind: str, repo_id: str, revision: str) -> None:
        self.require_owner()
        repository = self.repository(kind, repo_id)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        parent = repository.find(revision)
        if header.get("parentCommit") not in (None, parent.oid):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(parent.files)
        for line in lines[1:]:
            value, path = line["value"], line["value"]["path"]
            if line["key"] == "file":
                files[path] = StoredFile.regular(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.store:
                    raise Refusal(400, f"Your push was rejected because {path} was not uploaded.")
                files[path] = StoredFile.large(value["oid"], len(self.hub.store[value["oid"]]))
            else:
                is_folder = line["key"] == "deletedFolder"
                gone = [name for name in files if name == path or (is_folder and name.startswith(path))]
                if not gone:
                    raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
                for name in gone:
                    del files[name]
        new = repository.add(header["summary"], parent.oid, files)
        page = f"{self.hub.url}/{KINDS[kind]}{repo_id}"
        answer = {"success": True, "commitOid": new.oid, "commitUrl": f"{page}/commit/{new.oid}"}
        if "create_pr" in self.query:
            number = len(repository.pulls) + 1
            repository.pulls[f"refs/pr/{number}"] = new.oid
            answer["pullRequestUrl"] = f"{page}/discussions/{number}"
        elif revision in repository.branches:
            repository.branches[revision] = new.oid
        else:
            raise Refusal(400, f"{revision} is no branch")
        self.send(answer)

    def point(self, kind: str, repo_id: str, what: str, name: str) -> None:
        self.require_owner()
        repository = self.repository(kind, repo_id)
        is_tag = what == "tag"  # its revision is in the address, its name in the body
        names, key = (repository.tags, self.json["tag"]) if is_tag else (repository.branches, name)
        if key in names:
            raise Refusal(409, "Reference already exists")
        names[key] = repository.find(name if is_tag else self.json.get("startingPoint", "main")).oid
        self.send({})

    def refs(self, kind: str, repo_id: str) -> None:
        repository = self.repository(kind, repo_id)

        def listed(names: dict[str, str], prefix: str) -> list[dict[str, str]]:
            return [{"name": n, "ref": prefix + n, "targetCommit": oid} for n, oid in names.items()]

        heads, tags = listed(repository.branches, "refs/heads/"), listed(repository.tags, "refs/tags/")
        pulls = listed(repository.pulls, "")
        self.send({"branches": heads, "tags": tags, "converts": [], "pullRequests": pulls})

    def commits(self, kind: str, repo_id: str, revision: str) -> None:
        found = self.repository(kind, repo_id).history(revision)
        facts = {"authors": [{"user": USER}], "date": "2026-01-01T00:00:00.000Z", "message": ""}
        self.send([{"id": commit.oid, "title": commit.title, **facts} for commit in found])

    def info(self, kind: str, repo_id: str, revision: str | None = None) -> None:
        repository = self.repository(kind, repo_id)
        commit = repository.find(revision or "main")
        card = commit.files.get("README.md")
        found = re.match(r"---\n(.*?)\n---", (card.content or b"").decode() if card else "", re.S)
        metadata = yaml.safe_load(found[1]) if found else {}
        facts = {"id": repo_id, "modelId": repo_id, "sha": commit.oid, "private": repository.is_private}
        facts |= {
            "siblings": [{"rfilename": path} for path in commit.files],
            "tags": metadata.get("tags", []),
        }
        named = {key: metadata[key] for key in ("pipeline_tag", "library_name") if key in metadata}
        self.send(facts | named | {"cardData": metadata})

    def tree(self, kind: str, repo_id: str, revision: str, folder: str = "") -> None:
        files = self.repository(kind, repo_id).find(revision).files
        above = f"{folder}/" if folder else ""
        described = {path: entry for path, entry in describe_all(files).items() if path.startswith(above)}
        if folder and not described:
            raise Refusal(404, f"{folder} does not exist", "EntryNotFound")
        is_recursive = self.query.get("recursive", ["false"])[0].lower() == "true"
        self.send(
            [entry for path, entry in described.items() if is_recursive or "/" not in path[len(above) :]]
        )

    def paths_info(self, kind: str, repo_id: str, revision: str) -> None:
        described = describe_all(self.repository(kind, repo_id).find(revision).files)
        form = self.json if "json" in self.headers["Content-Type"] else parse_qs(self.body.decode())
        self.send([described[path] for path in form.get("paths", ()) if path in described])

    def resolve(self, kind: str, repo_id: str, revision: str, path: str) -> None:
        commit = self.repository(kind.strip("/") or "models", repo_id).find(revision)
        if path not in commit.files:
            raise Refusal(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": commit.oid})
        file = commit.files[path]
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
        if file.sha256:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
            self.send(b"", 302, Location=f"{self.hub.cdn_url}/cdn/{file.sha256}", **headers)
        else:
            self.send_part(file.content or b"", headers)

    def cdn(self, digest: str) -> None:
        if self.headers.get("Authorization"):
            raise Refusal(400, "a token was sent to another host")
        if digest not in self.hub.store:
            raise Refusal(404, "no such object")
        self.send_part(self.hub.store[digest], {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"})

    def send_part(self, content: bytes, headers: dict[str, str]) -> None:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not found:
            self.send(content, **headers)
            return
        first, last = int(found[1]), min(int(found[2] or len(content)), len(content) - 1)
        if first > last:
            raise Refusal(416, "Range not satisfiable", **{"Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self.send(content[first : last + 1], 206, **headers)


_REPO = r"/api/(models|datasets|spaces)/([^/]+/[^/]+)"
_ROUTES: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("GET", "/api/whoami-v2", _Handler.who_am_i),
    ("POST", "/api/repos/create", _Handler.create_repository),
    ("POST", "/api/validate-yaml", _Handler.validate_yaml),
    ("POST", rf"{_REPO}/preupload/(.+)", _Handler.preupload),
    ("POST", rf"{_REPO}/commit/(.+)", _Handler.commit),
    ("POST", rf"{_REPO}/(branch|tag)/(.+)", _Handler.point),
    ("POST", rf"{_REPO}/paths-info/(.+)", _Handler.paths_info),
    ("POST", r"/(datasets/|spaces/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    ("PUT", "/lfs/([0-9a-f]{64})", _Handler.lfs_put),
    ("GET", "/cdn/([0-9a-f]{64})", _Handler.cdn),
    ("GET", rf"{_REPO}", _Handler.info),
    ("GET", rf"{_REPO}/revision/(.+)", _Handler.info),
    ("GET", rf"{_REPO}/refs", _Handler.refs),
    ("GET", rf"{_REPO}/commits/(.+)", _Handler.commits),
    ("GET", rf"{_REPO}/tree/([^/]+)", _Handler.tree),
    ("GET", rf"{_REPO}/tree/([^/]+)/(.+)", _Handler.tree),
    ("GET", r"/(datasets/|spaces/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", _Handler.resolve),
)
