"""The checks behind `bsp-hf doctor`; each says what it found and what mends it, and none raises."""

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

_PIP = f"{sys.executable} -m pip"
_EXTRA_USES = {
    "h5": "HDF5 features",
    "plot": "pictures",
    "tracking": "training curves in TensorBoard",
    "onnx": "export to ONNX",
    "demo": "the demo page",
}
_LEAST_FREE_GB = 2.0
# What Linux calls the instructions that multiply bfloat16.
_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


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
    checks: tuple[Callable[[], Iterable[Finding]], ...] = (
        check_python,
        check_packages,
        check_package_itself,
        check_torchvision,
        check_devices,
        check_bfloat16,
        check_decoder,
        check_extras,
        check_folders,
    )
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check()
        except Exception as error:  # a doctor must not fall ill, whatever a broken installation raises
            name = check.__name__.removeprefix("check_").replace("_", " ")
            findings.append(Finding(name, "problem", f"{type(error).__name__}: {error}"))
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
        return [Finding("bsp_hf", "broken", text, f'{_PIP} install --upgrade "bsp_hf"')]
    return [Finding("bsp_hf", "ok", f"{__version__}, registered with transformers")]


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
    """Whether bfloat16 is fast here, or only emulated."""
    import torch

    if torch.cuda.is_available():
        fast = torch.cuda.get_device_capability()[0] >= 8
        return [Finding("bfloat16", "ok", "in hardware" if fast else "emulated by this GPU: use float32")]
    flags = _processor_flags()
    if flags is None:
        return [Finding("bfloat16", "ok", "unknown on this processor: measure, or use float32")]
    found = [name for name in _BFLOAT16_FLAGS if name in flags]
    if found:
        return [Finding("bfloat16", "ok", f"in hardware ({', '.join(found)})")]
    return [Finding("bfloat16", "ok", "not in this processor's hardware: float32 is the faster one")]


def check_decoder() -> list[Finding]:
    """Whether a video that is made here can be read here."""
    import av
    import numpy as np

    from bsp_hf.encoder.video import decoder_version, open_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        codec = next((name for name in ("libx264", "mpeg4") if name in av.codecs_available), None)
        if codec is None:
            return [Finding("decoder", "problem", f"{decoder_version()} has no encoder to test it with")]
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for level in range(0, 250, 25):
                picture = np.full((48, 64, 3), level, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        with open_video(path) as video:
            levels = [float(frame.image.mean()) for frame in video]
    if len(levels) != 10 or max(abs(a - b) for a, b in zip(levels, range(0, 250, 25), strict=True)) > 4:
        text = f"{decoder_version()} gives other frames than were written"
        return [Finding("decoder", "broken", text, f"{_PIP} install --force-reinstall av")]
    missing = [name for name in ("h264", "hevc", "vp9", "av1") if name not in av.codecs_available]
    lacks = f"; it lacks {', '.join(missing)}" if missing else ""
    return [Finding("decoder", "ok", f"{decoder_version()}, reads what it wrote{lacks}")]


def check_extras() -> list[Finding]:
    """Which optional parts are installed."""
    findings = []
    for extra, use in _EXTRA_USES.items():
        needed = [r for r in _requirements() if r.marker and r.marker.evaluate({"extra": extra})]
        states = [_check_requirement(requirement, "problem", optional=True) for requirement in needed]
        wrong = [finding for finding in states if finding.state != "ok"]
        names = ", ".join(finding.name for finding in wrong or states)
        if not needed:  # an installation that was made before the extra
            findings.append(Finding(f"extra {extra}", "optional", f"for {use}", f"{_PIP} install -U bsp_hf"))
        elif not wrong:
            findings.append(Finding(f"extra {extra}", "ok", f"{use} ({names})"))
        else:
            state = "problem" if any(f.state == "problem" for f in wrong) else "optional"
            text = f"for {use}: {'; '.join(f'{f.name} {f.text}' for f in wrong)}"
            findings.append(Finding(f"extra {extra}", state, text, f'{_PIP} install "bsp_hf[{extra}]"'))
    return findings


def check_folders() -> list[Finding]:
    """Whether downloads and rendered clips have a place."""
    from huggingface_hub.constants import HF_HOME, HF_HUB_OFFLINE

    place = Path(HF_HOME)
    while not place.exists() and place != place.parent:
        place = place.parent
    free_gb = shutil.disk_usage(place).free / 1e9
    state, text, remedy = "ok", f"{HF_HOME}, {free_gb:.0f} GB free", ""
    if not os.access(place, os.W_OK):
        state, text = "problem", f"{HF_HOME} cannot be written"
        remedy = "export HF_HOME=/a/folder/that/can"
    elif free_gb < _LEAST_FREE_GB:
        state, remedy = "problem", "export HF_HOME=/a/folder/with/room"
    offline = "offline: only what is in the cache loads" if HF_HUB_OFFLINE else "downloads what it lacks"
    return [Finding("cache", state, text, remedy), Finding("Hub", "ok", offline)]


def _requirements() -> list[Requirement]:
    return [Requirement(text) for text in requires("bsp_hf") or ()]


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
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _processor_flags() -> set[str] | None:
    for line in _cpuinfo():
        if line.lower().startswith(("flags", "features")):
            return set(line.partition(":")[2].split())
    return None


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


__all__ = ["Finding", "check_everything"]
