"""Options of a command out of a dataclass of settings, so that no option is declared twice."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, fields, replace
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from typer import Option

from bsp_hf.training.options import option_name

from .application import report_errors


def with_settings(
    settings_class: Any, presets: Mapping[str, Any] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command an option for each field of its parameter `settings`.

    A field's help is that of its metadata; with `option=False` there is no option for it, with a text it has
    that name. With `presets`, the option of the field `preset` chooses the settings whose other fields the
    options replace. What the dataclass refuses is reported as a user's mistake.
    """
    options = {
        option_name(field): field for field in fields(settings_class) if field.metadata.get("option", True)
    }
    hints = get_type_hints(settings_class)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:  # Any: the value of an option
            values = {field.name: given.pop(name, field.default) for name, field in options.items()}
            with report_errors(registers=False):
                settings = _replace_fields(presets, values, hints) if presets else settings_class(**values)
            command(settings=settings, **given)

        signature = inspect.signature(command)
        parameters = [value for name, value in signature.parameters.items() if name != "settings"]
        for field in options.values():
            parameters.append(_parameter(field, hints[field.name], has_default=not presets))
        # Typer reads both.
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {value.name: value.annotation for value in parameters}
        return run

    return decorate


# Any: fields of dataclasses, and their annotations
def _replace_fields(presets: Mapping[str, Any], values: dict[str, Any], hints: Mapping[str, Any]) -> Any:
    """Return a preset with the fields that were given; a list is a text with commas, `none` an empty one."""
    preset = values.pop("preset")
    given = {name: value for name, value in values.items() if value is not None}
    for name, text in given.items():
        if get_origin(hints[name]) is tuple and isinstance(text, str):
            element = get_args(hints[name])[0]
            given[name] = () if text == "none" else tuple(element(part) for part in text.split(","))
    if preset not in presets:
        raise ValueError(f"--synthesis {preset} must be one of {', '.join(presets)}.")
    return replace(presets[preset], **given)


def _complete(choices: Iterable[Any]) -> Callable[[], list[str]] | None:  # Any: values of an option
    words = [str(choice) for choice in choices]
    return (lambda: words) if words else None


def _parameter(field: Field, hint: Any, has_default: bool) -> inspect.Parameter:  # Any: an annotation
    text, choices = field.metadata["help"], field.metadata.get("choices", ())
    help_text = f"{text[0].upper()}{text[1:]}{': ' * bool(choices)}{', '.join(map(str, choices))}."
    default = field.default
    if not has_default and field.name != "preset":
        help_text += " With commas, or none." if get_origin(hint) is tuple else ""
        hint, default = (str if get_origin(hint) is tuple else hint) | None, None
    # By its own name alone: without it, Typer adds --no-... to a flag.
    names = [f"--{option_name(field).replace('_', '-')}"] if hint is bool else []
    annotation = Annotated[hint, Option(*names, help=help_text, autocompletion=_complete(choices))]
    return inspect.Parameter(
        option_name(field), inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
