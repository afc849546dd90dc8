"""`examples/publish.py`: publishes, loads again, compares."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.loopback_hub import serve_hub

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "publish.py"
CARD = ["--license", "mit", "--training_data", "None."]


def publish(environment: dict[str, str], *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_an_encoder_comes_back_from_the_hub_as_it_was(tmp_path):
    with serve_hub() as hub:
        environment = hub.environment(tmp_path / "home")
        said = publish(environment, "--repo_id", "org/random", *CARD, "--tag", "v1", "--private")
        repository = hub.repositories["models", "org/random"]
        assert "equal to the bit" in said and repository.find("main").oid[:12] in said
        assert repository.is_private and "v1" in repository.tags


@pytest.mark.slow
def test_a_dry_run_lists_and_gaps_are_told():
    said = publish({}, "--repo_id", "org/random", "--dry_run", *CARD)
    assert "would be published" in said and "modeling_bsp.py" in said
    assert "metadata `license:` is empty" in publish({}, "--repo_id", "org/random", "--dry_run", code=2)
