"""The checks of `bsp-hf doctor`: each returns what it found and the command that fixes it."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from bsp_hf.version import PIP, install_command

_EXTRA_USES = {
    "h5": "HDF5 features",
    "plot": "pictures",
    "tracking": "training curves in TensorBoard",
    "trackio": "training curves in Trackio",
    "onnx": "export to ONNX",
    "demo": "the demo page",
    "otio": "segments for editing programs",
}
_LEAST_FREE_GB = 2.0
_PACKAGE_PARENT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    `state` is `"ok"`, `"optional"` (not installed, not needed), `"problem"` or `"broken"`; `remedy` is the
    command that fixes it.
    """

    name: str
    state: str
    text: str
    remedy: str = ""


def check_everything() -> list[Finding]:
    """Run all checks; a check that fails itself is a finding too."""
    # With each check the package to reinstall if the check itself fails.
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
        except Exception as error:  # whatever a broken installation raises
            name = check.__name__.removeprefix("check_").replace("_", " ")
            remedy = f"{PIP} install --force-reinstall {package}"
            findings.append(Finding(name, "problem", f"{type(error).__name__}: {error}", remedy))
    return findings


def check_python() -> list[Finding]:
    """Return versions of Python and the system."""
    return [
        Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}"),
        Finding("system", "ok", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
    ]


def check_packages() -> list[Finding]:
    """Check that every required package is installed in a version that fits."""
    findings = []
    for requirement in _requirements():
        if requirement.marker is None:
            findings.append(_check_requirement(requirement, "broken"))
    return findings


def check_package_itself() -> list[Finding]:
    """Check that the package imports and registers with transformers."""
    try:
        import_module("bsp_hf.registration").register()
        from bsp_hf import __version__
    except Exception as error:  # whatever a broken transformers or torch raises
        text = f"import fails: {type(error).__name__}: {error}"
        return [Finding("bsp_hf", "broken", text, install_command())]
    text = f"{__version__}, registered with transformers"
    if not _requirements():
        text += f", but it is not installed; it runs from {_PACKAGE_PARENT}"
        return [Finding("bsp_hf", "problem", text, install_command())]
    return [Finding("bsp_hf", "ok", text)]


def check_torchvision() -> list[Finding]:
    """Check that no torchvision, which nothing here needs, breaks transformers."""
    try:
        installed = version("torchvision")
    except PackageNotFoundError:
        return [Finding("torchvision", "ok", "not installed, not needed")]
    try:
        import_module("torchvision")
    except Exception as error:  # RuntimeError from its operators, OSError from its libraries
        text = f"{installed} does not load ({error}), which breaks transformers"
        return [Finding("torchvision", "broken", text, f"{PIP} uninstall -y torchvision")]
    return [Finding("torchvision", "ok", f"{installed}, not needed")]


def check_devices() -> list[Finding]:
    """Return the devices that torch can compute on."""
    import torch

    from bsp_hf.training.environment import name_processor

    findings = [Finding("CPU", "ok", f"{name_processor()}, {torch.get_num_threads()} threads for torch")]
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
                f"{PIP} install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu130"
            )
            findings.append(Finding("GPU", "problem", text, remedy))
        else:
            text = f"{build} (CUDA {torch.version.cuda}) finds no GPU; check the driver"
            findings.append(Finding("GPU", "problem", text, "nvidia-smi"))
    else:
        findings.append(Finding("GPU", "optional", "none; all works on the CPU, slower"))
    return findings


def check_bfloat16() -> list[Finding]:
    """Check whether the hardware multiplies in bfloat16, by the rule of extraction."""
    import torch

    from bsp_hf.features.engine.fast_encoder import has_fast_bfloat16

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if has_fast_bfloat16(device):
        return [Finding("bfloat16", "ok", "in hardware; extraction computes in it")]
    owner = "GPU" if device.type == "cuda" else "processor"
    text = f"not in the hardware of this {owner}; extraction computes in float32, which is faster here"
    return [Finding("bfloat16", "ok", text)]


def check_decoder() -> list[Finding]:
    """Check that a video that is written here can be read here."""
    import numpy as np

    from bsp_hf.encoder.video import VideoReader, decoder_version, missing_codecs
    from bsp_hf.pretraining.rendering.files import write_h264_video

    reinstall = f"{PIP} install --force-reinstall --only-binary av av"
    written = range(0, 250, 25)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        try:
            write_h264_video(path, (np.full((48, 64, 3), level, np.uint8) for level in written))
        except RuntimeError:  # there is no encoder
            text = f"{decoder_version()} can write no video, neither for this test nor for rendered clips"
            return [Finding("decoder", "problem", text, reinstall)]
        with VideoReader(path) as video:
            levels = [float(frame.image.mean()) for frame in video]
    if len(levels) != len(written) or max(abs(a - b) for a, b in zip(levels, written, strict=True)) > 4:
        text = f"{decoder_version()} returns other frames than were written"
        return [Finding("decoder", "broken", text, reinstall)]
    if missing := missing_codecs():  # as in builds of distributions
        text = f"{decoder_version()} cannot read {', '.join(missing)}"
        return [Finding("decoder", "problem", text, reinstall)]
    return [Finding("decoder", "ok", f"{decoder_version()}, reads what it wrote")]


def check_extras() -> list[Finding]:
    """Check which extras are installed."""
    findings = []
    for extra, use in _EXTRA_USES.items():
        needed = [r for r in _requirements() if r.marker and r.marker.evaluate({"extra": extra})]
        states = [_check_requirement(requirement, "problem", optional=True) for requirement in needed]
        wrong = [finding for finding in states if finding.state != "ok"]
        names = ", ".join(finding.name for finding in wrong or states)
        if not needed:  # installed before the extra existed
            findings.append(Finding(f"extra {extra}", "optional", f"for {use}", install_command(extra)))
        elif not wrong:
            findings.append(Finding(f"extra {extra}", "ok", f"{use} ({names})"))
        else:
            state = "problem" if any(f.state == "problem" for f in wrong) else "optional"
            text = f"for {use}: {'; '.join(f'{f.name} {f.text}' for f in wrong)}"
            wanted = " ".join(f'"{r.name}{r.specifier}"' for r in needed)
            findings.append(Finding(f"extra {extra}", state, text, f"{PIP} install {wanted}"))
    return findings


def check_folders() -> list[Finding]:
    """Check the space for downloads and rendered clips, and the login to the Hub."""
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
        text = f"{cache.text}, which a few models fill; choose a folder on another disk"
        cache = Finding("cache", "problem", text, 'export HF_HOME="$PWD/hf-home"')
    offline = "offline: only what is in the cache loads" if HF_HUB_OFFLINE else "downloads what it lacks"
    login = Finding(
        "Hub login", "optional", "none; needed to publish and for private models", "hf auth login"
    )
    if get_token():
        login = Finding("Hub login", "ok", "there is a token")
    return [cache, Finding("Hub", "ok", offline), login]


def _requirements() -> list[Requirement]:
    """Return the requirements of the package; none where it is not installed."""
    try:
        return [Requirement(text) for text in requires("bsp_hf") or ()]
    except PackageNotFoundError:
        return []


def _check_requirement(requirement: Requirement, state: str, optional: bool = False) -> Finding:
    wanted = f'{PIP} install "{requirement.name}{requirement.specifier}"'
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return Finding(requirement.name, "optional" if optional else state, "not installed", wanted)
    if not requirement.specifier.contains(installed, prereleases=True):
        return Finding(requirement.name, state, f"{installed}, {requirement.specifier} is needed", wanted)
    return Finding(requirement.name, "ok", installed)
