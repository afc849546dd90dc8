"""Hold docstrings against signatures, as the house style asks."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Warns|Example|Examples):$", re.MULTILINE)
# An entry starts at the section's indentation: `name (`type`, *optional*, defaults to 8): ...`
ENTRY = re.compile(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \((.*?)\))?:(?:\s|$)", re.MULTILINE | re.DOTALL)
DEFAULT = re.compile(r"defaults to (.+)$", re.DOTALL)


def exported_objects(package: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield every public name of the package's modules once, from the module that defines it."""
    modules = [package]
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            modules.append(importlib.import_module(found.name))
    seen = set()
    for module in modules:
        for name, value in list(vars(module).items()):
            if name.startswith("_"):
                continue
            if getattr(value, "__module__", None) == module.__name__ and id(value) not in seen:
                seen.add(id(value))
                yield f"{module.__name__}.{name}", value


def sections_of(docstring: str) -> dict[str, str]:
    """Split a Google docstring into its sections, `""` for what comes before the first."""
    parts = SECTION.split(inspect.cleandoc(docstring))
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def documented_arguments(section: str) -> dict[str, str]:
    """Read `{argument: what stands in its parentheses}` from an `Args` section."""
    found: dict[str, str] = {}
    for names, type_text in ENTRY.findall(section):
        for name in names.split(", "):
            found[name.lstrip("*")] = " ".join((type_text or "").split())
    return found


def signature_defaults(target: Any) -> dict[str, Any]:
    """Return `{argument: default}` of a function, or of what makes an object of a class."""
    empty = inspect.Parameter.empty
    if inspect.isclass(target) and dataclasses.is_dataclass(target):
        # Fields that our own classes add; a config has dozens more from transformers.
        own = {
            name
            for base in target.__mro__
            if base.__module__.startswith("bsp_hf.")
            for name in vars(base).get("__annotations__", {})
        }
        fields = [f for f in dataclasses.fields(target) if f.name in own and f.init]
        return {f.name: empty if f.default is dataclasses.MISSING else f.default for f in fields}
    function = target.__init__ if inspect.isclass(target) else target
    if inspect.isclass(target) and not getattr(function, "__module__", "").startswith("bsp_hf."):
        return {}
    return {name: p.default for name, p in _parameters(function).items() if p.kind not in _VARIADIC}


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {name: p for name, p in parameters.items() if name not in ("self", "cls")}


def value_of(text: str) -> Any:
    """Evaluate a documented default: a literal, or a sum of numbers such as `1 / 255`."""
    text = text.strip().strip("`")
    if not re.fullmatch(r"""[\w\s.+\-*/()\[\]{},:"']+""", text):
        raise ValueError(text)
    return eval(text, {"__builtins__": {}})


def contradictions(name: str, target: Any) -> list[str]:
    """Say where the docstring of a function or class states what its signature denies."""
    sections = sections_of(docstring_of(target))
    defaults = signature_defaults(target)
    documented = documented_arguments(sections.get("Args", ""))
    faults = []
    if not inspect.isclass(target):
        unknown = set(documented) - set(_parameters(target))
        if unknown:
            faults.append(f"{name} documents {', '.join(sorted(unknown))}, which it does not take")
    for argument, type_text in documented.items():
        stated = DEFAULT.search(type_text)
        if argument not in defaults or stated is None:
            continue
        default = defaults[argument]
        if default is inspect.Parameter.empty:
            faults.append(f"{name} states a default of {argument}, which has none")
        elif default is not None:  # None often means a default that is worked out, and is put into words
            try:
                value = value_of(stated[1])
            except (ValueError, NameError, SyntaxError):
                value = stated[1]
            if value != default:
                faults.append(f"{name} states {stated[1]} as the default of {argument}, which is {default!r}")
    return faults


def omissions(name: str, target: Any) -> list[str]:
    """Say what the docstring of a function or class leaves out: arguments, defaults, what is returned."""
    docstring = docstring_of(target)
    if not docstring:
        return [f"{name} has no docstring"]
    sections = sections_of(docstring)
    documented = documented_arguments(sections.get("Args", "")) | fields_with_help(target)
    faults = []
    left_to_bases = _documented_by_bases(target, sections)
    for argument, default in signature_defaults(target).items():
        if argument in left_to_bases and argument not in documented:
            continue
        if argument not in documented:
            faults.append(f"{name} does not document {argument}")
        elif default not in (inspect.Parameter.empty, None) and not DEFAULT.search(documented[argument]):
            faults.append(f"{name} does not state that {argument} defaults to {default!r}")
    if isinstance(target, FunctionType):
        returned = inspect.signature(target).return_annotation
        is_silent = returned in (None, "None", inspect.Signature.empty)
        is_one_line = docstring.startswith("Return") and not signature_defaults(target)
        if not is_silent and not is_one_line and not {"Returns", "Yields"} & set(sections):
            faults.append(f"{name} does not say what it returns")
    return faults


def fields_with_help(target: Any) -> dict[str, str]:
    """Return the fields of settings whose help stands in their metadata: pages show it with the default."""
    fields = dataclasses.fields(target) if dataclasses.is_dataclass(target) else ()
    return {
        item.name: f"defaults to `{item.default!r}`"
        for item in fields
        if item.metadata.get("help", "").strip()
    }


def _documented_by_bases(target: Any, sections: dict[str, str]) -> set[str]:
    """Return the fields that a docstring leaves to a base: "All fields of [`Base`]"."""
    named = re.findall(r"All fields of \[`(\w+)`\]", sections.get("Args", ""))
    bases = [base for base in getattr(target, "__mro__", ())[1:] if base.__name__ in named]
    return {field for base in bases for field in vars(base).get("__annotations__", {})}


def docstring_of(target: Any) -> str:
    """Return the docstring that the function or class itself has, or an empty one."""
    return (vars(target).get("__doc__") if inspect.isclass(target) else target.__doc__) or ""


def methods_of(target: type) -> Iterator[tuple[str, FunctionType]]:
    """Yield the public methods that a class itself defines."""
    for name, value in vars(target).items():
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if isinstance(function, FunctionType) and (not name.startswith("_") or name == "__call__"):
            yield name, function
