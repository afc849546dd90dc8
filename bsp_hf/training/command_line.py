"""Command lines of the training scripts: a dataclass of settings as options, and errors as one line."""

import logging
import sys
from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field, asdict, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from types import GenericAlias
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from transformers import HfArgumentParser

from .options import option, option_name

logger = logging.getLogger(__name__)

USAGE_ERROR = 2
# What shells say of a command that Ctrl-C has stopped.
STOPPED = 130
# What a training says then.
GOES_ON = "stopped; the same command goes on from the last checkpoint in the output folder."

# What a user can mend; anything else keeps its traceback.
MISTAKES = (ValueError, OSError, ImportError)

_Settings = TypeVar("_Settings")


class _Help(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Shows defaults, and a script's docstring as it is written."""


class _Parser(HfArgumentParser):
    """Ends with one line and exit status 2 where the command line is wrong; lists may be empty."""

    def add_argument(self, *names: Any, **options: Any) -> Any:  # Any: what argparse takes
        """Add an option."""
        if options.get("nargs") == "+":
            options["nargs"] = "*"
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: error: {message}; --help lists the options\n")


def parse_settings(
    settings_class: type[_Settings],
    words: Sequence[str] | None = None,
    *,
    presets: Mapping[str, Mapping[str, Any]] | None = None,  # Any: the value of an option
    description: str | None = None,
    prog: str | None = None,
) -> _Settings:
    """Return the settings that a command line asks for.

    Every field of the dataclass is an option of that name, and so is every field of a dataclass that it
    holds. Of a field's metadata, `help` and `choices` are shown; with `option=False` there is no option, with
    a text it has that name. A class's `part_presets` sets the defaults of a part's fields by the value of the
    option of the part's name. `presets` sets those of any field by the value of the option `preset`. What the
    class's `__post_init__` refuses, and any other wrong command line, ends the process with exit status 2.
    """
    nested: dict[str, Any] = {
        name: kind for name, kind in _option_types(settings_class).items() if is_dataclass(kind)
    }
    parser = _Parser(
        tuple(_options_class(kind) for kind in (settings_class, *nested.values())),
        description=description,
        prog=prog,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    if presets is not None:
        preset = parser.parse_known_args(words)[0].preset
        parser.set_defaults(**presets[preset])
        for option, parts_by_name in getattr(settings_class, "part_presets", {}).items():
            part = parts_by_name[getattr(parser.parse_known_args(words)[0], option)]
            parser.set_defaults(**_option_values(part))
        parser.set_defaults(**presets[preset])
    given = vars(parser.parse_args(words))
    try:
        parts = {name: kind(**_select_values(kind, given)) for name, kind in nested.items()}
        return settings_class(**_select_values(settings_class, given), **parts)
    except MISTAKES as error:
        parser.error(str(error).rstrip("."))


# Any: a dataclass and the annotations of its fields, for which there is no type.
def _option_types(settings_class: Any) -> dict[str, Any]:
    hints = get_type_hints(settings_class)
    return {
        item.name: hints[item.name]
        for item in fields(settings_class)
        if item.init and item.metadata.get("option", True)
    }


def _options_class(settings_class: Any) -> Any:  # Any: as above
    """Return the dataclass that the parser reads: no dataclasses inside, and lists instead of tuples."""
    by_name = {item.name: item for item in fields(settings_class)}
    members = []
    for name, kind in _option_types(settings_class).items():
        if is_dataclass(kind):
            continue
        if get_origin(kind) is tuple:
            kind = GenericAlias(list, get_args(kind)[0])
        members.append((option_name(by_name[name]), kind, _as_option(by_name[name])))
    return make_dataclass(f"{settings_class.__name__}Options", members, kw_only=True)


def _as_option(item: Field) -> Any:  # Any: what dataclasses call a field
    metadata = {name: item.metadata[name] for name in ("help", "choices") if name in item.metadata}
    # Without a text, argparse shows no default.
    metadata.setdefault("help", item.name.replace("_", " "))
    if item.default_factory is not MISSING:
        return field(default_factory=item.default_factory, metadata=metadata)
    default = list(item.default) if isinstance(item.default, tuple) else item.default
    return option(default, metadata["help"], metadata.get("choices", ()))


def _option_values(settings: Any) -> dict[str, Any]:  # Any: a dataclass, and what its fields hold
    """Return the value of every option of a dataclass, tuples as lists."""
    kinds = _option_types(type(settings))
    values = {
        option_name(item): getattr(settings, item.name) for item in fields(settings) if item.name in kinds
    }
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _select_values(settings_class: Any, given: Mapping[str, Any]) -> dict[str, Any]:  # Any: as above
    options = {item.name: option_name(item) for item in fields(settings_class)}
    return {
        name: tuple(given[options[name]]) if get_origin(kind) is tuple else given[options[name]]
        for name, kind in _option_types(settings_class).items()
        if not is_dataclass(kind)
    }


def settings_to_dict(settings: Any) -> dict[str, Any]:  # Any: a dataclass, and its JSON values
    """Return the fields of a dataclass, those of dataclasses inside too, fit for JSON."""
    return {name: _as_json(value) for name, value in asdict(settings).items()}


def _as_json(value: Any) -> Any:  # Any: as above
    if isinstance(value, dict):
        return {name: _as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(part) for part in value]
    return str(value) if isinstance(value, Path) else value


@contextmanager
def exit_on_mistakes(stopped: str = "stopped.") -> Iterator[None]:
    """Turn what a user can mend into one line and exit status 2, and Ctrl-C into another and status 130.

    The traceback of a mistake goes to the debug log.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        print(stopped, file=sys.stderr)  # noqa: T201
        raise SystemExit(STOPPED) from interrupt
    except MISTAKES as error:
        logger.debug("traceback of the error below", exc_info=True)
        plain = (
            f"{error.filename}: {error.strerror}." if isinstance(error, OSError) and error.filename else error
        )
        # Messages of other libraries have several lines.
        print(f"error: {' '.join(str(plain).split())}", file=sys.stderr)  # noqa: T201
        raise SystemExit(USAGE_ERROR) from error
