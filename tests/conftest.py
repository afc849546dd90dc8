"""Fixtures that every test may use."""

import importlib.util
import os
from pathlib import Path

import pytest

# Everything in the tests stays offline; set before any Hugging Face import.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
# Tests run beside one another; several threads in each would wait for each other most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

GOLDEN = Path(__file__).with_name("golden")
SHARED = Path(os.environ.get("BSP_HF_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def _shared_part(name: str) -> Path:
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f"{name}: the data kit is not at {SHARED} (set BSP_HF_SHARED to point at it)")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real clips, annotations and hostile files; skips where it is absent."""
    return _shared_part("data")


@pytest.fixture(scope="session")
def golden():
    """`golden("tsm/tsm_resnet18")` loads a golden case of `tests/golden`."""
    spec = importlib.util.spec_from_file_location("golden_fill", GOLDEN / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda stem: module.load_case(str(GOLDEN / stem))


@pytest.fixture(scope="session")
def golden_json():
    """`golden_json("metrics/anet_map")` loads a golden case that is a single JSON file."""
    import json

    return lambda stem: json.loads((GOLDEN / f"{stem}.json").read_text())
