"""`bsp-hf doctor`: what it finds, what it recommends, and its exit status."""

import json
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.commands import bsp

from bsp_hf import version as own
from bsp_hf.cli.inspection import checkup
from bsp_hf.features.engine import fast_encoder as inference_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def versions(monkeypatch):
    """Pretended versions of packages; `None` is not installed."""
    pretended = {}
    real = checkup.version

    def version(name):
        if name not in pretended:
            return real(name)
        if pretended[name] is None:
            raise PackageNotFoundError(name)
        return pretended[name]

    monkeypatch.setattr(checkup, "version", version)
    return pretended


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_this_machine_is_described(versions):
    said = bsp("doctor")
    for name in ("Python", "torch", "transformers", "decoder", "bfloat16", "cache"):
        assert f"  {name}" in said
    assert "reads what it wrote" in said and "\n!!" not in said and "\nXX" not in said
    findings = json.loads(bsp("doctor", "--json"))
    assert {finding["state"] for finding in findings} <= {"ok", "optional"}


def test_a_missing_or_old_package_is_named_with_the_command(versions):
    versions |= {"av": None, "transformers": "4.57.0"}
    findings = by_name(checkup.check_packages())
    assert findings["av"].state == "broken"
    wanted = next(one for one in requires("bsp_hf") if one.startswith("av"))  # as it was installed
    assert findings["av"].remedy == f'{sys.executable} -m pip install "{wanted}"' and ">=17" in wanted
    assert findings["transformers"].text == "4.57.0, <6,>=5.17 is needed"
    assert findings["torch"].state == "ok"
    said = bsp("doctor", code=2)
    assert f'pip install "{wanted}"' in said


def test_a_missing_extra_is_no_fault(versions):
    versions["h5py"] = None
    findings = by_name(checkup.check_extras())
    assert findings["extra h5"].state == "optional" and "HDF5" in findings["extra h5"].text
    assert findings["extra h5"].remedy.endswith('-m pip install "h5py>=3.12"')
    versions["h5py"] = "2.0"
    assert by_name(checkup.check_extras())["extra h5"].state == "problem"
    bsp("doctor", code=1)


def test_a_torchvision_that_does_not_load_is_to_be_removed(versions, monkeypatch):
    versions["torchvision"] = "0.28.0"

    def fail(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(checkup, "import_module", fail)
    (finding,) = checkup.check_torchvision()
    assert finding.state == "broken" and finding.remedy.endswith("pip uninstall -y torchvision")


def test_a_check_that_fails_is_a_finding(monkeypatch):
    def check_decoder():
        raise OSError("libavcodec is gone")

    monkeypatch.setattr(checkup, "check_decoder", check_decoder)
    finding = by_name(checkup.check_everything())["decoder"]
    assert finding.state == "problem" and finding.text == "OSError: libavcodec is gone"
    assert finding.remedy.endswith("-m pip install --force-reinstall av")


@pytest.mark.parametrize("is_fast", [True, False])
def test_bfloat16_is_what_extraction_goes_by(is_fast, monkeypatch):
    monkeypatch.setattr(inference_model, "has_fast_bfloat16", lambda device: is_fast)
    (finding,) = checkup.check_bfloat16()
    assert inference_model.choose_dtype("auto", torch.device("cpu")) is (
        torch.bfloat16 if is_fast else torch.float32
    )
    assert finding.text.startswith("in hardware" if is_fast else "not in the hardware")


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        ('{"url": "file:///home/me/bsp_hf", "dir_info": {"editable": true}}', '-e "/home/me/bsp_hf[h5]"'),
        ('{"url": "file:///tmp/bsp_hf.whl", "archive_info": {}}', '"/tmp/bsp_hf.whl[h5]"'),
        (
            '{"url": "https://example.org/bsp_hf", "vcs_info": {"vcs": "git"}}',
            '--upgrade "bsp_hf[h5] @ git+https://example.org/bsp_hf"',
        ),
        (None, '--upgrade "bsp_hf[h5]"'),
    ],
)
def test_the_package_is_installed_again_from_where_it_came(origin, command, monkeypatch):
    monkeypatch.setattr(own, "distribution", lambda name: SimpleNamespace(read_text=lambda file: origin))
    assert own.install_command("h5").endswith(f"-m pip install {command}")


def test_a_folder_that_was_never_installed_says_so(monkeypatch):
    def fail(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(own, "distribution", fail)
    monkeypatch.setattr(checkup, "requires", fail)
    (finding,) = checkup.check_package_itself()
    assert finding.state == "problem" and finding.remedy.endswith(f'install -e "{ROOT}"')


def test_a_cache_without_room_is_a_problem_with_a_remedy(monkeypatch):
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda place: SimpleNamespace(free=1e9))
    cache = by_name(checkup.check_folders())["cache"]
    assert cache.state == "problem" and cache.remedy.startswith("export HF_HOME=")
