"""What was published loads in a clean process, with the package and without; `-s` prints the transcript."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from support.hub_processes import ROOT, load_in_clean_process, publish_by_command, run_process
from support.loopback_hub import serve_hub
from support.rendered import render_video
from support.tiny import randomize, tiny_config, tiny_extractor
from transformers import pipeline

import bsp_hf
from bsp_hf import BSPForBoundaryClassification, BSPModel, save_checkpoint_folder
from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline

pytestmark = pytest.mark.slow
TASK = "video-feature-extraction"
CARD = ["--license", "apache-2.0", "--training-data", "Nothing: the weights are drawn at random."]
FUSED = ["two-stream", "two-head", "distilled"]


def make_encoder(kind: str):
    if kind == "single":
        return BSPForBoundaryClassification(tiny_config())
    if kind == "two-stream":
        streams = {
            name: randomize(BSPModel(tiny_config()), seed) for seed, name in enumerate(("action", "boundary"))
        }
        return bsp_hf.BSPTwoStreamModel.from_encoders(streams)
    backbone = tiny_config().backbone_config
    if kind == "two-head":
        return bsp_hf.BSPForTwoHeadClassification(bsp_hf.BSPTwoHeadConfig(backbone_config=backbone))
    return bsp_hf.BSPForFeatureDistillation(bsp_hf.BSPDistilledConfig(backbone_config=backbone))


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return render_video(tmp_path_factory.mktemp("video") / "video.mp4", 50, size=(64, 48))


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    where = tmp_path_factory.mktemp("folders")
    names = {"single": "bsp-tsm-r18"} | {kind: f"bsp-{kind}-r18" for kind in FUSED}
    return {
        kind: save_checkpoint_folder(
            randomize(make_encoder(kind), seed).eval(), tiny_extractor(fps=10.0), where / name
        )
        for seed, (kind, name) in enumerate(names.items())
    }


@pytest.fixture(scope="module")
def hub():
    with serve_hub() as running:
        yield running


def extract_here(folder: Path, video: Path, with_package: bool = True) -> np.ndarray:
    """Return the features as the package computes them, or as its code beside a checkpoint alone does."""
    with pytest.MonkeyPatch.context() as patch:
        if not with_package:  # which runs a faster copy of the encoder
            patch.setattr(VideoFeatureExtractionPipeline, "speed_up", None)
        return pipeline(TASK, model=str(folder))(video)["features"]


@pytest.fixture(scope="module")
def published(hub, folders) -> dict[str, str]:
    """The commit of every encoder, published by the command."""
    commits = {}
    for folder in folders.values():
        publish_by_command([folder.name, f"org/{folder.name}", *CARD], hub, folder.parent)
        commits[folder.name] = hub.repositories["models", f"org/{folder.name}"].branches["main"]
    return commits


@pytest.mark.parametrize("with_package", [True, False], ids=["with the package", "without the package"])
def test_every_encoder_loads_by_its_id_and_gives_the_same_features_to_the_bit(
    hub, folders, published, video, tmp_path, with_package
):
    jobs = [{"model": f"org/{folder.name}"} for folder in folders.values()]
    # Who downloads needs no token.
    environment = hub.environment(tmp_path / "home") | {"HF_TOKEN": ""}
    loaded = load_in_clean_process(jobs, video, environment, tmp_path, with_package=with_package)
    for folder, result in zip(folders.values(), loaded, strict=True):
        assert "error" not in result.facts, result.error
        np.testing.assert_array_equal(result.features, extract_here(folder, video, with_package))
        assert result.facts["encoder"]["id"] == f"org/{folder.name}"
        assert result.facts["encoder"]["revision"] == published[folder.name]


def test_revisions_are_pinned_and_the_cache_serves_them_offline(hub, folders, video, tmp_path):
    folder = shutil.copytree(folders["single"], tmp_path / "bsp-pinned")
    environment = hub.environment(tmp_path / "home")
    publish_by_command([folder.name, "org/bsp-pinned", *CARD, "--tag", "v1"], hub, tmp_path)
    old = extract_here(folder, video)
    weights = load_file(folder / "model.safetensors")
    changed = {name: value * 1.5 if value.ndim == 4 else value for name, value in weights.items()}
    save_file(changed, folder / "model.safetensors", {"format": "pt"})
    publish_by_command([folder.name, "org/bsp-pinned"], hub, tmp_path)
    new = extract_here(folder, video)
    assert not np.array_equal(old, new)

    repository = hub.repositories["models", "org/bsp-pinned"]
    commits = [repository.tags["v1"], repository.branches["main"]]
    model = {"model": "org/bsp-pinned"}
    jobs = [model | {"revision": "v1"}, model, model | {"revision": commits[0]}, model | {"revision": "v9"}]
    online = load_in_clean_process(jobs, video, environment, tmp_path, with_package=True)
    asked = len(hub.requests)
    print("\n# HF_HUB_OFFLINE=1")
    offline = environment | {"HF_HUB_OFFLINE": "1"}
    cached = load_in_clean_process(jobs, video, offline, tmp_path, with_package=True)
    assert len(hub.requests) == asked
    for loaded in (online, cached):
        for result, features, commit in zip(loaded, (old, new, old), (*commits, commits[0]), strict=False):
            np.testing.assert_array_equal(result.features, features)
            assert result.facts["encoder"]["revision"] == commit
        assert "v9" in loaded[3].error or "cached files" in loaded[3].error
    print("\n# HF_HUB_OFFLINE=1, with an empty cache")
    offline["HF_HOME"] = str(tmp_path / "empty")
    (missing,) = load_in_clean_process([model], video, offline, tmp_path, with_package=True)
    assert "cached files" in missing.error


@pytest.fixture
def empty_hub():
    with serve_hub() as running:
        yield running


def test_a_publisher_that_is_killed_goes_on_where_it_was(empty_hub, folders, tmp_path):
    hub = empty_hub  # nobody has sent these weights to it yet
    folder = shutil.copytree(folders["single"], tmp_path / "bsp-killed")
    (folder / "curves.png").write_bytes(os.urandom(5000))
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    environment |= hub.environment(tmp_path / "home") | {"PYTHONPATH": str(ROOT)}
    words = [folder.name, "org/bsp-killed", *CARD]
    process = subprocess.Popen(
        [sys.executable, "-m", "bsp_hf.cli", "publish", *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    before = len(hub.uploads)

    def kill_at_the_second(number):
        if number == before + 1:
            process.send_signal(signal.SIGKILL)
            process.wait()

    hub.on_upload = kill_at_the_second
    try:
        assert process.wait(120) == -signal.SIGKILL
    finally:
        hub.on_upload = lambda number: None
    print("\n# kill -9 while the second of two large files was on its way")
    repository = hub.repositories["models", "org/bsp-killed"]
    assert [commit.title for commit in repository.history("main")] == ["initial commit"]
    publish_by_command(words, hub, tmp_path)
    assert next(repository.history("main")).title == "Publish bsp-killed"
    # Both arrived once: what the dying process sent was not sent again.
    sent = hub.uploads[before:]
    assert len(sent) == len(set(sent)) == 2
    for name in ("model.safetensors", "curves.png"):
        assert hub.read("org/bsp-killed", name) == (folder / name).read_bytes()


def test_private_encoders_load_for_their_owner_only(hub, folders, video, tmp_path):
    folder = shutil.copytree(folders["single"], tmp_path / "bsp-secret")
    environment = hub.environment(tmp_path / "home")
    publish_by_command([folder.name, "org/bsp-secret", *CARD, "--private"], hub, tmp_path)
    jobs = [{"model": "org/bsp-secret"}]
    anonymous = hub.environment(tmp_path / "anonymous") | {"HF_TOKEN": ""}
    (refused,) = load_in_clean_process(jobs, video, anonymous, tmp_path, with_package=True)
    assert "org/bsp-secret" in refused.error
    (owner,) = load_in_clean_process(jobs, video, environment, tmp_path, with_package=True)
    np.testing.assert_array_equal(owner.features, extract_here(folder, video))


PUSH = """
import sys
sys.path.insert(0, sys.argv[1])
import bsp_hf
from transformers import AutoModelForVideoClassification, AutoFeatureExtractor, pipeline
folder = sys.argv[2]
pipeline("video-feature-extraction", model=folder).push_to_hub("org/pushed-pipeline")
model = AutoModelForVideoClassification.from_pretrained(folder)
extractor = AutoFeatureExtractor.from_pretrained(folder)
model.push_to_hub("org/pushed-parts")
extractor.push_to_hub("org/pushed-parts")
model.classifier.bias.data += 1  # what has not changed makes no commit
model.push_to_hub("org/pushed-parts", revision="dev", commit_message="On a branch")
"""


def test_push_to_hub_of_model_extractor_and_pipeline(hub, folders, video, tmp_path):
    environment = hub.environment(tmp_path / "home")
    command = [sys.executable, "-I", "-c", PUSH, str(ROOT), str(folders["single"])]
    run_process(command, environment, tmp_path)
    assert hub.repositories["models", "org/pushed-parts"].find("dev").title == "On a branch"
    jobs = [{"model": "org/pushed-pipeline"}, {"model": "org/pushed-parts"}]
    for with_package in (True, False):
        # Pushing the parts leaves out the pipeline's code, which only the package has then.
        wanted = jobs if with_package else jobs[:1]
        features = extract_here(folders["single"], video, with_package)
        for result in load_in_clean_process(wanted, video, environment, tmp_path, with_package=with_package):
            assert "error" not in result.facts, result.error
            np.testing.assert_array_equal(result.features, features)
    config = json.loads(hub.read("org/pushed-parts", "config.json"))
    assert config["auto_map"]["AutoModel"] == "modeling_bsp.BSPModel"
