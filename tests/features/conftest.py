"""Fixtures of the extraction job's tests: a tiny published encoder and a folder of tiny videos."""

from pathlib import Path

import pytest
from support.rendered import render_video
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


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """Three videos of 20, 12 and 5 frames, one of them in a folder, and one file that is no video."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "kitchen").mkdir()
    lossless = {"size": (48, 40), "codec": "ffv1"}
    render_video(folder / "b.mkv", 20, **lossless)
    render_video(folder / "kitchen" / "a.mkv", 12, **lossless)
    render_video(folder / "c.mkv", 5, **lossless)
    (folder / "broken.mp4").write_bytes(b"this is no video " * 50)
    (folder / "notes.txt").write_text("not a video, and not named like one")
    return folder
