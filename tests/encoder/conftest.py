"""Fixtures of the encoder's tests."""

from pathlib import Path

import pytest
from support.known_videos import SIZE, TASK
from support.rendered import CODECS, render_video
from support.tiny import randomize, tiny_config, tiny_extractor
from transformers import pipeline

from bsp_hf import BSPForBoundaryClassification, VideoFeatureExtractionPipeline, save_checkpoint_folder


@pytest.fixture(scope="session")
def render(tmp_path_factory):
    """`render(name, ...)` is `render_video` into a folder of the session, done once for all equal calls."""
    folder = tmp_path_factory.mktemp("videos")
    made = {}

    def make(name, *args, **kwargs):
        key = repr((name, args, sorted(kwargs.items())))
        if key not in made:
            made[key] = render_video(folder / f"{len(made)}_{name}", *args, **kwargs)
        return made[key]

    return make


@pytest.fixture(params=CODECS)
def numbered(request, render):
    """A video of each kind, 40 frames."""
    name, options = CODECS[request.param]
    return render(name, 40, **options)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Folder of a tiny published encoder with its boundary classifier."""
    model = randomize(BSPForBoundaryClassification(tiny_config())).eval()
    return save_checkpoint_folder(model, tiny_extractor(), tmp_path_factory.mktemp("x") / "bsp-tiny")


@pytest.fixture(scope="module")
def extract(checkpoint) -> VideoFeatureExtractionPipeline:
    """The feature pipeline of that encoder."""
    return pipeline(TASK, model=str(checkpoint))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> dict[str, Path]:
    """Lossless, so that the pictures are known exactly; 25 frames a second."""
    where = tmp_path_factory.mktemp("videos")
    lossless = {"size": SIZE, "codec": "ffv1"}
    return {
        "long": render_video(where / "long.mkv", 20, **lossless),
        "short": render_video(where / "short.mkv", 5, **lossless),
        "exact": render_video(where / "exact.mkv", 16, **lossless),
    }


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Path:
    """A file that is no video."""
    path = tmp_path_factory.mktemp("broken") / "broken.mp4"
    path.write_bytes(b"this is no video " * 50)
    return path
