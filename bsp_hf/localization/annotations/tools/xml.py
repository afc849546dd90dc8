"""Reading and writing of XML, with errors that name the file."""

from pathlib import Path
from xml.etree import ElementTree

from bsp_hf.metrics.text_files import read_text


def list_documents(path: Path, suffix: str) -> list[Path]:
    """Return a document alone, or all of a folder and of those in it."""
    documents = sorted(path.rglob(f"*{suffix}")) if path.is_dir() else [path]
    if not documents:
        raise ValueError(f"{path} holds no {suffix} file.")
    return documents


def parse_xml(path: Path, root_name: str) -> ElementTree.Element:
    """Return the root of an XML file; a damaged or another one is a `ValueError`."""
    try:
        # As bytes, because a text may not say which encoding it has.
        root = ElementTree.fromstring(read_text(path).encode("utf-8"))
    except (ElementTree.ParseError, LookupError) as error:  # or an encoding that nobody knows
        raise ValueError(f"{path} is not a readable XML file ({error}). Is it complete?") from error
    if root.tag != root_name:
        raise ValueError(f"{path} holds <{root.tag}>; expected <{root_name}>.")
    return root


def render_xml(root: ElementTree.Element) -> str:
    """Return an indented document."""
    ElementTree.indent(root, "  ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'
