"""One clear error for an output that cannot be written, whatever the library that found out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


class OutputError(OSError):
    """The output cannot be written: no room, no permission, or a disk that is away."""


@contextmanager
def explain_write_errors(output: Path) -> Iterator[None]:
    """Turn what the libraries say about an output that cannot be written into one clear error.

    Args:
        output (`Path`): What is being written.

    Raises:
        OutputError: If anything inside cannot write.
    """
    try:
        yield
    except OutputError:
        raise
    except (
        OSError,
        RuntimeError,
        SafetensorError,
    ) as error:  # torch and safetensors have errors of their own
        reason = str(error) or type(error).__name__
        raise OutputError(
            f"{output} cannot be written ({reason}). Make room or give permission and start again: what is "
            "finished is kept, and nothing half-written is left under its name."
        ) from error


__all__ = ["OutputError", "explain_write_errors"]
