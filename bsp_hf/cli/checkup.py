"""The checks behind `bsp-hf doctor`; each says what it found and what mends it, and none raises."""

import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import Requirement

_PIP = f"{shlex.quote(sys.executable)} -m pip"
_EXTRA_USES = {
    "h5": "HDF5 features",
    "plot": "pictures",
    "tracking": "training curves in TensorBoard",
    "trackio": "training curves in Trackio",
    "onnx": "export to ONNX",
    "demo": "the demo page",
}
_LEAST_FREE_GB = 2.0
_PACKAGE_PARENT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        name (`str`): What it is.
        state (`str`): `"ok"`, `"optional"` (not installed, not needed), `"problem"` or `"broken"`.
        text (`str`): What was found.
        remedy (`str`, *optional*, defaults to `""`): The command that mends it.
    """

    name: str
    state: str
    text: str
    remedy: str = ""


def check_everything() -> list[Finding]:
    """Look at everything; a check that fails itself is a finding too."""
    # Beside each check the package that is to blame if the check itself fails.
    checks: tuple[tuple[Callable[[], Iterable[Finding]], str], ...] = (
        (check_python, "pip"),
        (check_packages, "packaging"),
        (check_package_itself, "transformers"),
        (check_torchvision, "torch"),
        (check_devices, "torch"),
        (check_bfloat16, "torch"),
        (check_decoder, "av"),
        (check_extras, "packaging"),
        (check_folders, "huggingface-hub"),
    )
    findings: list[Finding] = []
    for check, package in checks:
        try:
            findings += check()
        except Exception as error:  # a doctor must not fall ill, whatever a broken installation raises
            name = check.__name__.removeprefix("check_").replace("_", " ")
            remedy = f"{_PIP} install --force-reinstall {package}"
            findings.append(Finding(name, "problem", f"{type(error).__name__}: {error}", remedy))
    return findings


def check_python() -> list[Finding]:
    """Python and the system."""
    return [
        Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}"),
        Finding("system", "ok", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
    ]


def check_packages() -> list[Finding]:
    """Whether every required package is there in a version that fits."""
    findings = []
    for requirement in _requirements():
        if requirement.marker is None:
            findings.append(_check_requirement(requirement, "broken"))
    return findings


def check_package_itself() -> list[Finding]:
    """Whether the package imports and is known to transformers."""
    try:
        import_module("bsp_hf.registration").register()
        from bsp_hf import __version__
    except Exception as error:  # whatever a broken transformers or torch raises
        text = f"import fails: {type(error).__name__}: {error}"
        return [Finding("bsp_hf", "broken", text, _own_install_command())]
    text = f"{__version__}, registered with transformers"
    if not _requirements():
        text += f", but pip knows nothing of it; it runs from {_PACKAGE_PARENT}"
        return [Finding("bsp_hf", "problem", text, _own_install_command())]
    return [Finding("bsp_hf", "ok", text)]


def check_torchvision() -> list[Finding]:
    """A torchvision that was built for another torch breaks transformers; nobody needs it here."""
    try:
        installed = version("torchvision")
    except PackageNotFoundError:
        return [Finding("torchvision", "ok", "not installed, not needed")]
    try:
        import_module("torchvision")
    except Exception as error:  # RuntimeError from its operators, OSError from its libraries
        text = f"{installed} does not load ({error}), which breaks transformers"
        return [Finding("torchvision", "broken", text, f"{_PIP} uninstall -y torchvision")]
    return [Finding("torchvision", "ok", f"{installed}, not needed")]


def check_devices() -> list[Finding]:
    """What torch can compute on."""
    import torch

    findings = [Finding("CPU", "ok", f"{_processor_name()}, {torch.get_num_threads()} threads for torch")]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(index)
            text = f"{about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
            findings.append(Finding(f"GPU {index}", "ok", text))
    elif torch.backends.mps.is_available():
        findings.append(Finding("GPU", "ok", "Apple (mps)"))
    elif shutil.which("nvidia-smi"):
        build = f"torch {torch.__version__}"
        if torch.version.cuda is None:
            text = f"there is an NVIDIA driver, but {build} is built without CUDA"
            remedy = (
                f"{_PIP} install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu130"
            )
            findings.append(Finding("GPU", "problem", text, remedy))
        else:
            text = f"{build} (CUDA {torch.version.cuda}) finds no GPU; look at what the driver says"
            findings.append(Finding("GPU", "problem", text, "nvidia-smi"))
    else:
        findings.append(Finding("GPU", "optional", "none; all works on the CPU, slower"))
    return findings


def check_bfloat16() -> list[Finding]:
    """Whether the hardware multiplies in bfloat16, by the rule that extraction goes by."""
    import torch

    from bsp_hf.features.engine.fast_encoder import has_fast_bfloat16

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if has_fast_bfloat16(device):
        return [Finding("bfloat16", "ok", "in hardware; extraction computes in it")]
    owner = "GPU" if device.type == "cuda" else "processor"
    text = f"not in the hardware of this {owner}; extraction computes in float32, which is faster here"
    return [Finding("bfloat16", "ok", text)]


def check_decoder() -> list[Finding]:
    """Whether a video that is made here can be read here."""
    import av
    import numpy as np

    from bsp_hf.encoder.video import VideoReader, decoder_version

    reinstall = f"{_PIP} install --force-reinstall --only-binary av av"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        codec = next((name for name in ("libx264", "mpeg4") if name in av.codecs_available), None)
        if codec is None:
            text = f"{decoder_version()} can write no video, neither for this test nor for rendered clips"
            return [Finding("decoder", "problem", text, reinstall)]
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for level in range(0, 250, 25):
                picture = np.full((48, 64, 3), level, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        with VideoReader(path) as video:
            levels = [float(frame.image.mean()) for frame in video]
    if len(levels) != 10 or max(abs(a - b) for a, b in zip(levels, range(0, 250, 25), strict=True)) > 4:
        text = f"{decoder_version()} gives other frames than were written"
        return [Finding("decoder", "broken", text, reinstall)]
    missing = [name for name in ("h264", "hevc", "vp9", "av1") if name not in av.codecs_available]
    if missing:  # as builds of distributions do; the wheels have them all
        text = f"{decoder_version()} cannot read {', '.join(missing)}"
        return [Finding("decoder", "problem", text, reinstall)]
    return [Finding("decoder", "ok", f"{decoder_version()}, reads what it wrote")]


def check_extras() -> list[Finding]:
    """Which optional parts are installed."""
    findings = []
    for extra, use in _EXTRA_USES.items():
        needed = [r for r in _requirements() if r.marker and r.marker.evaluate({"extra": extra})]
        states = [_check_requirement(requirement, "problem", optional=True) for requirement in needed]
        wrong = [finding for finding in states if finding.state != "ok"]
        names = ", ".join(finding.name for finding in wrong or states)
        if not needed:  # an installation that was made before the extra
            findings.append(Finding(f"extra {extra}", "optional", f"for {use}", _own_install_command(extra)))
        elif not wrong:
            findings.append(Finding(f"extra {extra}", "ok", f"{use} ({names})"))
        else:
            state = "problem" if any(f.state == "problem" for f in wrong) else "optional"
            text = f"for {use}: {'; '.join(f'{f.name} {f.text}' for f in wrong)}"
            wanted = " ".join(f'"{r.name}{r.specifier}"' for r in needed)
            findings.append(Finding(f"extra {extra}", state, text, f"{_PIP} install {wanted}"))
    return findings


def check_folders() -> list[Finding]:
    """Whether downloads and rendered clips have a place, and who one is on the Hub."""
    from huggingface_hub import get_token
    from huggingface_hub.constants import HF_HOME, HF_HUB_OFFLINE

    place = Path(HF_HOME)
    while not place.exists() and place != place.parent:
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    cache = Finding("cache", "ok", f"{HF_HOME}, {free_gb:.0f} GB free")
    if not os.access(place, os.W_OK):
        cache = Finding("cache", "problem", f"{HF_HOME} cannot be written", 'export HF_HOME="$PWD/hf-home"')
    elif free_gb < _LEAST_FREE_GB:
        text = f"{cache.text}, which a few models fill; name a folder on another disk"
        cache = Finding("cache", "problem", text, 'export HF_HOME="$PWD/hf-home"')
    offline = "offline: only what is in the cache loads" if HF_HUB_OFFLINE else "downloads what it lacks"
    login = Finding(
        "Hub login", "optional", "none, which publishing and private models need", "hf auth login"
    )
    if get_token():
        login = Finding("Hub login", "ok", "there is a token")
    return [cache, Finding("Hub", "ok", offline), login]


def _own_install_command(extra: str = "") -> str:
    """Return what installs this package again: from its checkout or archive where it came from one."""
    extras = f"[{extra}]" if extra else ""
    try:
        origin = json.loads(distribution("bsp_hf").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return f'{_PIP} install -e "{_PACKAGE_PARENT}{extras}"'
    url = str(origin.get("url", ""))
    if url.startswith("file://"):
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f'{_PIP} install {editable}"{url2pathname(urlsplit(url).path)}{extras}"'
    system = origin.get("vcs_info", {}).get("vcs")
    place = f" @ {system}+{url}" if system else f" @ {url}" if url else ""
    return f'{_PIP} install --upgrade "bsp_hf{extras}{place}"'


def _requirements() -> list[Requirement]:
    """Return what the package needs; nothing where it was not installed."""
    try:
        return [Requirement(text) for text in requires("bsp_hf") or ()]
    except PackageNotFoundError:
        return []


def _check_requirement(requirement: Requirement, state: str, optional: bool = False) -> Finding:
    wanted = f'{_PIP} install "{requirement.name}{requirement.specifier}"'
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return Finding(requirement.name, "optional" if optional else state, "not installed", wanted)
    if not requirement.specifier.contains(installed, prereleases=True):
        return Finding(requirement.name, state, f"{installed}, {requirement.specifier} is needed", wanted)
    return Finding(requirement.name, "ok", installed)


def _processor_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
