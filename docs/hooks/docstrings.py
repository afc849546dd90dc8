"""Lets mkdocstrings render docstrings of transformers' style.

An argument stands there as ``name (`type`, *optional*, defaults to 8): text``. Types and defaults come from
the signature where it has them, and the help of a field of settings becomes its docstring.
"""

import dataclasses
import importlib
import re

import griffe

_SECTION = re.compile(
    r"^(Args|Returns|Yields|Raises|Warns|Attributes):\n((?:[ \t]+\S.*\n?|[ \t]*\n)+)", re.MULTILINE
)
_ENTRY = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*) \(((?:[^()]|\([^()]*\))*)\):", re.MULTILINE)
_RETURNED = re.compile(r"^    `+([^`]+)`+:", re.MULTILINE)
_NAME = re.compile(r"\[`~?([\w.]+)`\](?![(\[])")
_DEFAULT = re.compile(r",?\s*defaults to (.+)$", re.DOTALL)


class TransformersStyle(griffe.Extension):
    """Rewrite every docstring to plain Google style before it is parsed."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: object) -> None:
        """Walk through the loaded package."""
        if pkg.name == "bsp_hf":
            self._public = {
                name: f"{face.path}.{name}"
                for face in (pkg["visualization"], pkg["metrics"], pkg["features"], pkg)
                for name, member in face.members.items()
                if member.is_alias
            }
            self._walk(pkg)

    def _walk(self, parent: griffe.Module | griffe.Class) -> None:
        for member in parent.members.values():
            if member.is_alias:
                continue
            if member.is_class and any(map(_is_field, member.attributes.values())):
                _add_help(member)
            if member.docstring:
                text = _SECTION.sub(
                    lambda found, member=member: _plain(found, member), member.docstring.value
                )
                text = _NAME.sub(self._link, re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE))
                member.docstring.value = text
            if member.is_module or member.is_class:
                self._walk(member)

    def _link(self, found: re.Match) -> str:
        """Return a link to a name that the package offers, or the name as code."""
        name, _, rest = found[1].partition(".")
        if name not in self._public:
            return f"`{found[1]}`"
        return f"[`{found[1]}`][{self._public[name]}{'.' + rest if rest else ''}]"


def _plain(found: re.Match, member: griffe.Object) -> str:
    name, text = found[1], found[2]
    if name in ("Returns", "Yields"):
        return f"{name}:\n" + _RETURNED.sub(r"    \1:", text, count=1)
    if name != "Args":
        return found[0]
    annotated = _annotated(member)
    return "Args:\n" + _ENTRY.sub(lambda entry: _entry(entry, annotated), text)


def _annotated(member: griffe.Object) -> set[str]:
    """Return the parameters whose type the signature has."""
    if not (member.is_class or member.is_function):
        return set()
    return {parameter.name.lstrip("*") for parameter in member.parameters if parameter.annotation is not None}


def _entry(entry: re.Match, annotated: set[str]) -> str:
    """Return one or several entries without what the signature says, else with a type as code."""
    names = [name.strip() for name in entry[1].split(",")]
    parts = _DEFAULT.split(" ".join(entry[2].split()))
    kind = parts[0].replace(", *optional*", "").replace("`", "").strip(", ")
    default = f" Defaults to {parts[1]}." if len(parts) > 1 else ""
    if all(name.lstrip("*") in annotated for name in names):
        return f"    {', '.join(names)}:"
    return f"    {', '.join(names)} ({kind}):{default}"


def _is_field(attribute: griffe.Attribute) -> bool:
    value = attribute.value
    return isinstance(value, griffe.ExprCall) and str(value.function) in ("option", "field")


def _add_help(settings: griffe.Class) -> None:
    """Make the help of every field of a dataclass of settings its docstring, and its default its value."""
    loaded = getattr(importlib.import_module(settings.module.path), settings.name)
    for field in dataclasses.fields(loaded):
        attribute = settings.attributes.get(field.name)
        if attribute and not attribute.docstring and field.metadata.get("help"):
            has_default = field.default is not dataclasses.MISSING
            attribute.value = repr(field.default) if has_default else None
            attribute.docstring = griffe.Docstring(field.metadata["help"], parent=attribute)
