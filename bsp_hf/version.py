"""The version of the package, and how this installation of it is changed."""

import json
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

__version__ = "0.1.0"
PIP = f"{shlex.quote(sys.executable)} -m pip"


def install_command(extra: str = "") -> str:
    """Return the command that installs this package again from where it came from."""
    extras = f"[{extra}]" if extra else ""
    try:
        origin = json.loads(distribution("bsp_hf").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return f'{PIP} install -e "{Path(__file__).resolve().parents[1]}{extras}"'
    url = str(origin.get("url", ""))
    if url.startswith("file://"):
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f'{PIP} install {editable}"{url2pathname(urlsplit(url).path)}{extras}"'
    system = origin.get("vcs_info", {}).get("vcs")
    place = f" @ {system}+{url}" if system else f" @ {url}" if url else ""
    return f'{PIP} install --upgrade "bsp_hf{extras}{place}"'
