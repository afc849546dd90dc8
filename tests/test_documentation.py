"""What README and docs show works as shown."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def snippets(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


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
    (code,) = [code for code in snippets(ROOT / "README.md", "python") if "pipeline(" in code]
    namespace = {}
    exec(compile(code, "README.md", "exec"), namespace)
    track = namespace["track"]
    assert track["features"].shape == (4, 16) and track["features"].dtype == np.float32
    assert track["centers_s"] == pytest.approx([0.16, 0.48, 0.80, 1.08])
    assert set(track["encoder"]) >= {"id", "revision", "settings_hash"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_snippets_parse_and_links_lead_somewhere(page):
    for code in snippets(page, "python"):
        ast.parse(code)
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_options_of_documented_commands_exist():
    from bsp_hf.pretraining.arguments import pretraining_parser

    options = {option for action in pretraining_parser("")._actions for option in action.option_strings}
    launcher = {"--multi_gpu", "--mixed_precision", "--num_machines", "--num_processes", "--cpu"}
    for page in PAGES:
        for code in snippets(page, "bash"):
            for command in re.split(r"(?<!\\)\n", code):
                if "examples/pretrain.py" in command:
                    used = set(re.findall(r"--\w+", command))
                    assert used <= options | launcher, f"{page.name}: {used - options - launcher}"


def test_defaults_in_the_table_of_decisions_are_those_of_the_code():
    from bsp_hf import BSPFeatureExtractor, SynthesisConfig

    config = SynthesisConfig()
    table = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"tau | {config.half_length}:" in table
    assert f"epsilon | {config.blend_half_width} frame" in table
    assert "gamma | 2, 3 or 4." in table and config.speeds == (2.0, 3.0, 4.0)
    assert f"at least {config.min_side_frames} frames" in table
    assert f"sampled frames | {config.frame_stride}:" in table
    assert BSPFeatureExtractor().padding == "repeat"
