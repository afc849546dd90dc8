"""Fixtures of the extraction job's tests: a tiny published encoder and a folder of tiny videos."""

from pathlib import Path

import pytest
from support.clips_of_names import clips  # noqa: F401 (a fixture)
from support.tiny import randomize, tiny_config, tiny_extractor

from bsp_hf import BSPForBoundaryClassification, save_checkpoint_folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory) -> Path:
    """Folder of a tiny published encoder."""
    model = randomize(BSPForBoundaryClassification(tiny_config())).eval()
    return save_checkpoint_folder(model, tiny_extractor(), tmp_path_factory.mktemp("encoder") / "bsp-tiny")


@pytest.fixture(scope="session")
def other_encoder(tmp_path_factory) -> Path:
    """Folder of another encoder of the same name."""
    model = randomize(BSPForBoundaryClassification(tiny_config()), seed=1).eval()
    return save_checkpoint_folder(model, tiny_extractor(), tmp_path_factory.mktemp("other") / "bsp-tiny")
