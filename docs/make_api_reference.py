"""Write `docs/api/`: one page per module of the package, from its docstrings.

python docs/make_api_reference.py

A test holds the pages against the docstrings; run this after changing one.
"""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from types import FunctionType

import bsp_hf

MODULES = {
    "encoder": "Videos in, features out: decoding, snippets, models, preprocessing, the feature pipeline.",
    "pretraining": "Trimmed clips in, synthesized clips and their labels out.",
    "features": "Feature tracks: records, files, extraction of folders, layouts of other tools.",
    "localization": "Feature tracks and annotations in, segments and boundaries in seconds out.",
    "metrics": "Segments and ground truth in, numbers by the official protocols out.",
    "publishing": "Checkpoint folders, conversions, model cards, the Hub.",
    "visualization": "Pictures, as matplotlib figures.",
}
_SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Warns|Example|Examples):$")
_ENTRY = re.compile(r"^ {4}(\S.*?):(?:\s|$)(.*)$")


def public_objects(module: str) -> list[tuple[str, str, object]]:
    """Return module, name and object of what a module offers: its `__all__`, and its names in `bsp_hf`."""
    package = importlib.import_module(f"bsp_hf.{module}")
    values = [getattr(package, name) for name in getattr(package, "__all__", ())]
    values += [getattr(bsp_hf, name) for name, home in bsp_hf._HOMES.items() if home.startswith(f"{module}.")]
    named = {value.__name__: value for value in values if inspect.isclass(value) or inspect.isfunction(value)}
    found = [(value.__module__, name, value) for name, value in named.items()]
    return sorted((part for part in found if part[0].startswith("bsp_hf.")), key=lambda part: part[:2])


def render_docstring(text: str) -> list[str]:
    """Turn a Google docstring into Markdown: sections become lists, what is code stays code."""
    lines, section, is_code = [], "", False
    for line in inspect.cleandoc(text).splitlines():
        heading = _SECTION.match(line)
        if heading:
            section, is_code = heading[1], False
            lines += [f"**{section}**", ""]
        elif section.startswith("Example"):
            bare = line[4:] if line.startswith("    ") else line
            if bare.startswith("```"):
                is_code = not is_code
            elif bare.startswith(">>>") and not is_code:
                lines.append("```python")
                is_code = True
            lines.append("```python" if bare == "```python" else bare)
        elif section and (entry := _ENTRY.match(line)):
            lines.append(f"- {_name_as_code(entry[1])}: {entry[2]}".rstrip())
        elif section and line.strip():
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line)
    if is_code and lines[-1] != "```":
        lines.append("```")
    return lines


def _name_as_code(entry: str) -> str:
    """Set the names in front of the parentheses of an entry as code."""
    name, space, rest = entry.partition(" ")
    return entry if name.startswith("`") or not name.strip("*,").isidentifier() else f"`{name}`{space}{rest}"


def render_page(module: str) -> str:
    """Return the page of one module."""
    lines = [f"# bsp_hf.{module}", "", MODULES[module], "", "<!-- made by docs/make_api_reference.py -->"]
    module_before = ""
    for module_name, name, value in public_objects(module):
        if module_name != module_before:
            about = (inspect.getdoc(importlib.import_module(module_name)) or "").splitlines()
            lines += ["", f"## {module_name}", "", *about]
            module_before = module_name
        own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
        lines += ["", f"### {name}", "", *render_docstring(own or ""), *_field_help(value)]
        for method, function in _methods(value):
            lines += ["", f"#### {name}.{method}", "", *render_docstring(function.__doc__ or "")]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _field_help(value: object) -> list[str]:
    """Return a list of the fields of a dataclass of settings, whose help stands in their metadata."""
    fields = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
    told = [field for field in fields if "help" in field.metadata]
    entries = [
        f"- `{field.name}` (defaults to `{field.default!r}`): {field.metadata['help']}" for field in told
    ]
    return ["", "**Fields**", "", *entries] if entries else []


def _methods(value: object) -> list[tuple[str, FunctionType]]:
    if not inspect.isclass(value):
        return []
    found = []
    for name, member in vars(value).items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if isinstance(function, FunctionType) and function.__doc__ and not name.startswith("_"):
            found.append((name, function))
    return found


def render_index() -> str:
    """Return the page that lists the modules and the names of the package itself."""
    lines = [
        "# API reference",
        "",
        "One page per module, made from the docstrings by `docs/make_api_reference.py`.",
        "",
    ]
    lines += [f"- [bsp_hf.{module}]({module}.md): {about}" for module, about in MODULES.items()]
    lines += ["", "The names that `import bsp_hf` offers:", "", "| name | what it is |", "| --- | --- |"]
    for name in sorted(set(bsp_hf.__all__) - {"__version__"}):
        value = getattr(bsp_hf, name)
        first = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        lines.append(f"| [`{name}`]({value.__module__.split('.')[1]}.md#{name.lower()}) | {first} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """Return what every page must hold, by its file name."""
    return {"README.md": render_index(), **{f"{module}.md": render_page(module) for module in MODULES}}


def main() -> None:
    """Write all pages."""
    folder = Path(__file__).resolve().parent / "api"
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
