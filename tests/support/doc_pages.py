"""Reads README, docs and the help of commands: their snippets, and the commands in them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "examples/space/README.md", "skills/bsp-hf/SKILL.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
_COMMAND = re.compile(r"(bsp-hf|accelerate launch|python (examples|benchmarks|docs)/)")


def snippets(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


def commands_of(page: Path) -> list[str]:
    """The shell commands of a page in the order in which they stand there, in blocks and in lines."""
    commands = []
    parts = re.findall(r"```(\w*)\n(.*?)```|`([^`]+)`", page.read_text(encoding="utf-8"), re.S)
    for language, block, inline in parts:
        if language == "bash":
            commands += re.split(r"(?<!\\)\n", block)
        elif _COMMAND.match(inline.replace("\n", " ")) and not inline.startswith("bsp-hf/"):
            commands.append(inline.replace("\n", " "))
    return [command for command in commands if command.strip()]


def words_of(command: str) -> list[str]:
    """The words of a command, without the variables in front of it."""
    words = shlex.split(command.replace("\\\n", " "), comments=True)
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    return words
