"""What README and docs show works as shown."""

import ast
import contextlib
import dataclasses
import importlib
import inspect
import io
import json
import re
import runpy
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from support.doc_pages import NOTEBOOKS, PAGES, ROOT, commands_of, snippets, words_of
from support.docstrings import contradictions, docstring_of, methods_of, omissions

import bsp_hf
import bsp_hf.features
import bsp_hf.metrics
import bsp_hf.visualization
from bsp_hf.training.command_line import parse_settings

# Options of what starts a script, not of the script.
LAUNCHER = {
    "--multi_gpu",
    "--mixed_precision",
    "--num_machines",
    "--num_processes",
    "--cpu",
    "--machine_rank",
}


@pytest.fixture
def newcomer(tmp_path, monkeypatch):
    """An empty directory that holds what the README's first lines name: an encoder and a video."""
    import av

    from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPForBoundaryClassification, save_checkpoint_folder

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    backbone = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    model = BSPForBoundaryClassification(BSPConfig(backbone_config=backbone))
    extractor = BSPFeatureExtractor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32})
    save_checkpoint_folder(model, extractor, "bsp-tsm-r50")
    rng = np.random.default_rng(0)
    with av.open("video.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(30):
            picture = rng.integers(0, 255, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return tmp_path


def test_the_thirty_seconds_of_the_readme_run(newcomer):
    packaged, own = [code for code in snippets(ROOT / "README.md", "python") if "pipeline(" in code]
    namespace = {}
    exec(compile(packaged, "README.md", "exec"), namespace)
    track = namespace["track"]
    assert track["features"].shape == (4, 2560) and track["features"].dtype == np.float32
    assert track["centers_s"] == pytest.approx([0.16, 0.48, 0.80, 1.08])
    assert set(track["encoder"]) >= {"id", "revision", "settings_hash"}
    exec(compile(own, "README.md", "exec"), namespace)
    assert namespace["extract"]("video.mp4")["features"].shape == (4, 16)


TASK_PAGES = [page for page in PAGES[2:] if snippets(page, "python")]


@pytest.mark.parametrize("page", TASK_PAGES, ids=lambda page: page.name)
def test_python_of_the_task_pages_runs_from_top_to_bottom(page, newcomer, monkeypatch, capsys):
    from bsp_hf.pretraining import pretexts

    monkeypatch.setattr(pretexts, "PRETEXTS", dict(pretexts.PRETEXTS))  # one page adds to them
    namespace = {"__name__": "page"}
    monkeypatch.setitem(sys.modules, "page", ModuleType("page"))  # dataclasses look their module up
    for code in snippets(page, "python"):
        exec(compile(code, page.name, "exec"), namespace)
    assert "None" not in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_snippets_parse_and_links_lead_somewhere(page):
    for code in snippets(page, "python"):
        ast.parse(code)
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def command_line_options(words):
    """The options of the `bsp-hf` command that `words` name."""
    from typer.main import get_command

    from bsp_hf.cli.application import app

    command = get_command(app)
    for word in words:
        if not hasattr(command, "commands"):
            break
        if word.startswith("-"):
            return {"--help", "--version"}
        assert word in command.commands, f"bsp-hf has no command {word}"
        command = command.commands[word]
    return {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}


def options_of(script):
    """Every option that the script, its settings, or the modules that build parsers, know."""
    code = script.read_text(encoding="utf-8")
    sources = [script, *(ROOT / "bsp_hf").rglob("*arguments.py")]
    known = {name for path in sources for name in re.findall(r'"(--\w+)"', path.read_text(encoding="utf-8"))}
    for settings in re.findall(r"parse_settings\(\s*(\w+)", code):
        shown = io.StringIO()
        settings_class = runpy.run_path(str(script))[settings]
        with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
            parse_settings(settings_class, ["--help"])
        known |= set(re.findall(r"--\w+", shown.getvalue()))
    return known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_commands_and_their_options_exist(page):
    for words in map(words_of, commands_of(page)):
        # A value may be a list of options itself, with spaces between them.
        options = [word for word in words if re.match(r"--?[a-z]", word) and " " not in word]
        used = {word.partition("=")[0] for word in options}
        if words[0] == "bsp-hf":
            known = command_line_options(words[1:])
            script = ROOT / "examples" / f"{words[1].replace('-', '_')}.py" if words[1:] else ROOT
            if "--loop-options" in known:  # what it does not know is an option of the script
                known |= {name.replace("_", "-") for name in options_of(script)}
            assert used <= known, f"{page.name}: bsp-hf {words[1]} has no {used - known}"
        for word in words:
            if re.match(r"(examples|benchmarks|docs)/.*\.py$", word):
                assert (ROOT / word).is_file(), f"{page.name} names {word}"
                unknown = used - options_of(ROOT / word) - LAUNCHER
                assert not unknown, f"{page.name}: {word} has no {unknown}"


FACES = [bsp_hf, bsp_hf.features, bsp_hf.metrics, bsp_hf.visualization]


def test_every_public_name_stands_in_the_reference_once_with_its_docstring():
    shown = []
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for path in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.M):
            module, _, name = path.rpartition(".")
            shown.append(getattr(importlib.import_module(module), name))
    offered = {f"{face.__name__}.{name}": getattr(face, name) for face in FACES for name in face.__all__}
    offered.pop("bsp_hf.__version__")
    missing = [path for path, value in offered.items() if not any(value is other for other in shown)]
    assert missing == [], f"add `::: {missing[0]}` to a page of docs/reference/"
    documented = [value for value in shown if inspect.isclass(value) or inspect.isfunction(value)]
    assert len({id(value) for value in documented}) == len(documented) > 100
    for value in documented:
        # Defaults stand in the signature, which the page shows.
        faults = [fault for fault in omissions(value.__name__, value) if "defaults to" not in fault]
        faults += contradictions(value.__name__, value)
        faults += [
            f"{value.__name__}.{name} has no docstring"
            for name, method in (methods_of(value) if inspect.isclass(value) else ())
            if not docstring_of(method)
        ]
        assert faults == []


@pytest.mark.slow
def test_docstrings_reach_the_reference_with_types_of_the_signature_links_and_help():
    griffe = pytest.importorskip("griffe")
    from docstrings import TransformersStyle

    package = griffe.load("bsp_hf", search_paths=[ROOT], extensions=griffe.load_extensions(TransformersStyle))
    function = package["metrics.activitynet_map"]
    sections = {part.kind.value: part.value for part in function.docstring.parse("google")}
    assert [item.name for item in sections["parameters"]] == [item.name for item in function.parameters]
    assert [str(item.annotation) for item in sections["parameters"]] == [
        str(item.annotation) for item in function.parameters
    ]
    assert "`" not in str(sections["returns"][0].annotation)
    settings = package["SynthesisConfig"].attributes
    fields = {item.name: item for item in dataclasses.fields(bsp_hf.SynthesisConfig)}
    assert settings["half_length"].docstring.value == fields["half_length"].metadata["help"]
    assert settings["half_length"].value == "4"
    assert (
        "[`activitynet_map`][bsp_hf.metrics.activitynet_map]" in package["metrics.thumos_map"].docstring.value
    )
    assert "Examples:" in package["BSPModel"].docstring.value


def test_files_that_the_plan_names_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for row in [line for line in page.splitlines() if line.startswith("|")]:
        folders = [ROOT / "bsp_hf", ROOT]
        for name in re.findall(r"`([\w/.]+(?:\.pyi?|\.yml|/))`", row):
            found = [folder / name for folder in folders if (folder / name).exists()]
            assert found, f"{name} of: {row}"
            # A name alone lies beside the one in front of it.
            folders = [found[0] if name.endswith("/") else found[0].parent, ROOT / "bsp_hf", ROOT]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_hold_no_outputs_and_open_in_colab(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    repository = re.search(r"^repo_url: https://github.com/(\S+)$", (ROOT / "mkdocs.yml").read_text(), re.M)[
        1
    ]
    place = path.relative_to(ROOT).as_posix()
    badge = f"(https://colab.research.google.com/github/{repository}/blob/main/{place})"
    assert badge in "".join(cells[0]["source"])
    assert f"@ git+https://github.com/{repository}" in "".join(cells[1]["source"])


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path):
    """`make docs` shows what they print here."""
    pytest.importorskip("nbclient")
    from notebooks import run

    printed = [output.get("text", "") for cell in run(path).cells for output in cell.get("outputs", ())]
    assert any(printed)


def test_defaults_in_the_table_of_decisions_are_those_of_the_code():
    from bsp_hf import BSPFeatureExtractor, SynthesisConfig

    config = SynthesisConfig()
    table = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    assert f"tau | {config.half_length}:" in table
    assert f"epsilon | {config.blend_half_width} frame" in table
    assert "gamma | 2, 3 or 4." in table and config.speeds == (2.0, 3.0, 4.0)
    assert f"at least {config.min_side_frames} frames" in table
    assert f"sampled frames | {config.frame_stride}:" in table
    assert BSPFeatureExtractor().padding == "repeat"
