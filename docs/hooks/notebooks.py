"""Runs the notebooks and turns them into pages; `git` holds them without outputs."""

import base64
import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
# A command that fails stops the notebook, as an exception does.
_CHECK_COMMANDS = """
def _check(command, shell=get_ipython(), system=get_ipython().system):
    system(command)
    if shell.user_ns["_exit_code"]:
        raise ChildProcessError(f"{command} ended with {shell.user_ns['_exit_code']}")
get_ipython().system = _check
"""
# Colours, moves of the cursor, what a line held before it was written anew; then progress bars and blanks.
_OVERWRITTEN = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|^.*\r", re.MULTILINE)
_PROGRESS = re.compile(r"^.*\d%\|.*$\n?|^ {40,}", re.MULTILINE)


def run(path: Path) -> nbformat.NotebookNode:
    """Run a notebook in an empty folder, and keep it with its outputs under `.cache/notebooks/`."""
    notebook = nbformat.read(path, as_version=4)
    bin_folder = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([bin_folder, os.environ.get("PATH", "")]),
    }
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}})
        notebook.cells.insert(0, nbformat.v4.new_code_cell(_CHECK_COMMANDS))
        client.execute(env=environment)
        del notebook.cells[0]
    kept = _kept(path)
    kept.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, kept)
    return notebook


def render(path: Path, repo_url: str) -> tuple[str, dict[str, bytes]]:
    """Return the page of a notebook with its outputs, and its pictures by file name.

    It is run unless it has been since it was changed.
    """
    kept = _kept(path)
    notebook = nbformat.read(kept, as_version=4) if kept.is_file() else run(path)
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        parts += _shown(cell.outputs, path.stem, pictures)
    source = path.relative_to(ROOT).as_posix()
    url = f"{repo_url}/blob/main/{source}"
    parts.append(f"---\n\nThis page is [a notebook]({url}); its outputs come from the build of this site.")
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def _kept(path: Path) -> Path:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return ROOT / ".cache" / "notebooks" / f"{path.stem}-{digest}.ipynb"


def _shown(outputs: list, stem: str, pictures: dict[str, bytes]) -> list[str]:
    """Return the outputs of a cell as Markdown: pictures, tables, and text but for that of stderr."""
    parts, text = [], ""
    for output in outputs:
        data = output.get("data", {})
        if "image/png" in data:
            name = f"{stem}-{len(pictures)}.png"
            pictures[name] = base64.b64decode(data["image/png"])
            parts.append(f"![Output]({name})")
        elif "text/html" in data:
            parts.append(data["text/html"])
        elif output.get("name") != "stderr":
            text += output.get("text") or data.get("text/plain", "")
    text = _PROGRESS.sub("", _OVERWRITTEN.sub("", text.replace("\r\n", "\n"))).strip("\n")
    return [f"```text {{ .output }}\n{text}\n```", *parts] if text else parts
