"""Folders of an encoder and of localizers, and short videos, made once."""

from pathlib import Path

import pytest
from support.tiny_localizers import companions_of, render_levels, tiny_encoder, tiny_extractor, tiny_localizer
from transformers import pipeline

from bsp_hf import save_checkpoint_folder, save_localizer_folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory) -> Path:
    """A tiny encoder as it is published."""
    return save_checkpoint_folder(
        tiny_encoder(), tiny_extractor(), tmp_path_factory.mktemp("enc") / "bsp-tiny"
    )


@pytest.fixture(scope="session")
def extract(encoder_folder):
    """The feature pipeline of the tiny encoder."""
    return pipeline("video-feature-extraction", model=str(encoder_folder))


@pytest.fixture(scope="session")
def localizer_folders(tmp_path_factory, encoder_folder) -> dict[str, Path]:
    """Each localizer with its encoder in one folder."""
    home = tmp_path_factory.mktemp("localizers")
    return {
        kind: save_localizer_folder(
            tiny_localizer(kind), home / kind, encoder=encoder_folder, **companions_of(kind)
        )
        for kind in ("gtad", "tan", "lgi", "actionness")
    }


@pytest.fixture(scope="session")
def levels_video(tmp_path_factory) -> Path:
    """Dark for a second, bright for one, dark for one."""
    return render_levels(tmp_path_factory.mktemp("videos") / "levels.mp4", [20, 200, 20])


@pytest.fixture(scope="session")
def tiny_video(tmp_path_factory) -> Path:
    """Three frames, fewer than a snippet has."""
    return render_levels(tmp_path_factory.mktemp("videos") / "tiny.mp4", [90], seconds_each=0.12)


@pytest.fixture(scope="session")
def broken_video(tmp_path_factory) -> Path:
    """A file that is no video."""
    path = tmp_path_factory.mktemp("videos") / "broken.mp4"
    path.write_bytes(b"no video at all" * 20)
    return path
