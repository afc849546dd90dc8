"""Fixtures of the encoder's tests."""

import pytest
from rendered import CODECS, render_video


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
