"""What mkdocs does beside showing `docs/`: pages from elsewhere, notebooks, the command line, and checks.

Files outside of `docs/` that a reader wants become pages; links to any other file lead to the repository.
"""

import logging
import posixpath
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
from notebooks import render  # mkdocs loads this file alone

ROOT = Path(__file__).resolve().parents[2]
log = logging.getLogger("mkdocs.hooks.pages")  # a warning of it fails a strict build

# Where files of the repository stand in the site.
PAGES = {
    "CHANGELOG.md": "pages/changelog.md",
    "CONTRIBUTING.md": "pages/contributing.md",
    "SECURITY.md": "pages/security.md",
    "examples/space/README.md": "pages/demo_page.md",
    **{
        card.relative_to(ROOT).as_posix(): f"cards/{name}.md"
        for card in sorted((*ROOT.glob("bsp_hf/pretrained/*/README.md"), *ROOT.glob("model_cards/*.md")))
        for name in [card.parent.name if card.name == "README.md" else card.stem]
    },
}
_FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\]\()(?!\w+:|#|/)([^)\s#]+)((?:#[^)\s]*)?\))")
_LOADED = re.compile(
    r"<(?:script|img|iframe|source|link rel=.(?:stylesheet|preload|preconnect))\b[^>]*?"
    r"(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in `docs/`."""
    for source, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_text(encoding="utf-8")))
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(notebook)
        page, pictures = render(ROOT / "docs" / notebook.src_uri, config.repo_url)
        files.append(File.generated(config, notebook.src_uri.replace(".ipynb", ".md"), content=page))
        for name, content in pictures.items():
            files.append(
                File.generated(config, f"{posixpath.dirname(notebook.src_uri)}/{name}", content=content)
            )
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to their page, or else to the repository."""
    place = page.file.src_uri
    if page.parent is None:  # a tab of its own, without a list of pages beside it
        page.meta.setdefault("hide", ["navigation"])
    if place == "reference/command_line.md":
        return markdown + _command_line()
    lies_at = next((source for source, shown in PAGES.items() if shown == place), f"docs/{place}")
    parts = _FENCE.split(markdown)
    for number in range(0, len(parts), 2):
        parts[number] = _LINK.sub(
            lambda link: link[1] + _target(link[2], lies_at, place, config, files) + link[3], parts[number]
        )
    return "".join(parts)


def _target(link: str, lies_at: str, place: str, config: MkDocsConfig, files: Files) -> str:
    path = posixpath.normpath(posixpath.join(posixpath.dirname(lies_at), link))
    shown = PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
    if shown.endswith(".ipynb"):
        shown = shown.removesuffix(".ipynb") + ".md"
    if shown and files.get_file_from_path(shown):
        return posixpath.relpath(shown, posixpath.dirname(place) or ".")
    if not (ROOT / path).exists():
        return link  # mkdocs warns of it
    return f"{config.repo_url}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}"


def _command_line() -> str:
    """Return what `--help` prints of every command, as Markdown."""
    from typer.main import get_command

    from bsp_hf.cli.application import app

    return "\n".join(_describe(get_command(app), "bsp-hf", None))


def _describe(command: Any, name: str, parent: Any) -> list[str]:  # Any: typer has its own click
    context = command.context_class(command, info_name=name, parent=parent)
    text, _, examples = (command.help or "").replace("\b\n", "").partition("Examples:\n")
    pieces = " ".join(command.collect_usage_pieces(context))
    lines = ["", f"## {name}", "", text.strip(), "", f"```console\n$ {name} {pieces}\n```", ""]
    if examples.strip():
        lines += [f"```bash\n{textwrap.dedent(examples).strip()}\n```", ""]
    rows = [record for item in command.get_params(context) if (record := item.get_help_record(context))]
    rows = [(option, text) for option, text in rows if not option.endswith(("--help", "-completion"))]
    if rows:
        lines += [
            "| argument or option | what it sets |",
            "| --- | --- |",
            *(f"| `{a}` | {_in_cell(b)} |" for a, b in rows),
            "",
        ]
    for child in getattr(command, "commands", {}).values():
        lines += _describe(child, f"{name} {child.name}", context)
    return lines


def _in_cell(text: str) -> str:
    return re.sub(r"([|<*_])", r"\\\1", text)


def on_post_build(config: MkDocsConfig) -> None:
    """Check that no page loads anything from elsewhere."""
    for page in Path(config.site_dir).rglob("*.html"):
        found = _LOADED.search(page.read_text(encoding="utf-8"))
        if found:
            log.warning("%s loads a file from elsewhere: %s", page.relative_to(config.site_dir), found[0])
