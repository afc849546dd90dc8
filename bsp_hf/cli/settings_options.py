"""Options of a command out of a dataclass of settings, so that no option is declared twice."""

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from .application import report_errors


def with_settings(settings_class: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a command an option for each field of its parameter `settings`.

    A field's help is that of its metadata; with `option=False` there is no option for it. What the dataclass
    refuses is reported as a user's mistake.
    """
    options = [field for field in fields(settings_class) if field.metadata.get("option", True)]
    hints = get_type_hints(settings_class)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:  # Any: the value of an option
            with report_errors(registers=False):
                settings = settings_class(**{field.name: given.pop(field.name) for field in options})
            command(settings=settings, **given)

        signature = inspect.signature(command)
        parameters = [value for name, value in signature.parameters.items() if name != "settings"]
        parameters += [_parameter(field, hints[field.name]) for field in options]
        # Typer reads both.
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {value.name: value.annotation for value in parameters}
        return run

    return decorate


def _parameter(field: Field, hint: Any) -> inspect.Parameter:  # Any: an annotation
    text = field.metadata["help"]
    help_text = f"{text[0].upper()}{text[1:]}."
    # By its own name alone: without it, Typer adds --no-... to a flag.
    names = [f"--{field.name.replace('_', '-')}"] if hint is bool else []
    option = typer.Option(*names, help=help_text)
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=Annotated[hint, option]
    )
