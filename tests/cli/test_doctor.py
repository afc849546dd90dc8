"""`bsp-hf doctor`: what it finds, what it recommends, and its exit status."""

import json
import sys
from importlib.metadata import PackageNotFoundError

import pytest
from commands import bsp

from bsp_hf.cli import checkup


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
    assert findings["av"].remedy == f'{sys.executable} -m pip install "av>=17"'
    assert findings["transformers"].text == "4.57.0, <6,>=5.17 is needed"
    assert findings["torch"].state == "ok"
    said = bsp("doctor", code=2)
    assert 'pip install "av>=17"' in said


def test_a_missing_extra_is_no_fault(versions):
    versions["h5py"] = None
    findings = by_name(checkup.check_extras())
    assert findings["extra h5"].state == "optional" and "HDF5" in findings["extra h5"].text
    assert findings["extra h5"].remedy.endswith('pip install "bsp_hf[h5]"')
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


def test_bfloat16_is_read_from_the_processors_flags(monkeypatch):
    monkeypatch.setattr(checkup, "_cpuinfo", lambda: ["model name : X", "flags : fma avx512_bf16 amx_bf16"])
    (finding,) = checkup.check_bfloat16()
    assert finding.text == "in hardware (avx512_bf16, amx_bf16)"
    monkeypatch.setattr(checkup, "_cpuinfo", lambda: ["flags : fma avx2"])
    assert "float32 is the faster one" in checkup.check_bfloat16()[0].text
