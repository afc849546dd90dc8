"""Saving that is interrupted at a numbered change of the file system."""

import sys


def read_folder(folder) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


class Interruption:
    """Raises KeyboardInterrupt at a numbered change of the file system; hooks cannot be removed."""

    def __init__(self) -> None:
        self.step = self.count = 0
        sys.addaudithook(self.look)

    def look(self, event: str, args: tuple) -> None:
        is_change = event in ("os.rename", "os.mkdir", "os.link", "shutil.copyfile", "ctypes.call_function")
        if event == "open" and isinstance(args[1], str):
            is_change = any(letter in args[1] for letter in "wax+")
        if self.step and is_change:
            self.count += 1
            if self.count == self.step:
                self.step = 0
                raise KeyboardInterrupt

    def run(self, step: int, function) -> bool:
        """Return whether there was such a step."""
        self.step, self.count = step, 0
        try:
            function()
        except KeyboardInterrupt:
            return True
        finally:
            self.step = 0
        return False
