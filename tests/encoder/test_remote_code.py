"""Checkpoint folders load where the package is not installed, from the code that they carry."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from support.rendered import render_video
from support.tiny import random_clips, randomize, tiny_backbone, tiny_config, tiny_extractor
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForVideoClassification,
    pipeline,
)

import bsp_hf
from bsp_hf import BSPFeatureExtractor, BSPForBoundaryClassification, BSPModel, save_checkpoint_folder
from bsp_hf.encoder.modeling_bsp import BSPForBoundaryRegression
from bsp_hf.encoder.pipeline_video_features import VideoFeatureExtractionPipeline

ENCODER = Path(bsp_hf.__file__).parent / "encoder"
TASK = "video-feature-extraction"
# One of each kind that is not a ResNet, and the one that transformers does not know
FAMILIES = ["convnext", "mobilenet_v2", "efficientnet-lite", "videomae"]

# Runs in another process, where `import bsp_hf` fails.
WITHOUT_PACKAGE = """
import json, sys

class NoPackage:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bsp_hf":
            raise ModuleNotFoundError("bsp_hf is not installed here")

sys.meta_path.insert(0, NoPackage())
import numpy as np, torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, pipeline
from transformers import AutoImageProcessor, AutoModelForVideoClassification
from transformers.models.auto.video_processing_auto import AutoVideoProcessor  # the other needs torchvision

job = json.load(open(sys.argv[1]))
clips = torch.from_numpy(np.load(job["clips"]))
frames = np.load(job["frames"])
results, facts = {}, {}
trust = {"trust_remote_code": True}
for name, folder in job["folders"].items():
    with torch.no_grad():
        results[f"{name}.features"] = AutoModel.from_pretrained(folder, **trust)(clips).pooler_output
        if name != "regression":
            classifier = AutoModelForVideoClassification.from_pretrained(folder, **trust)
            results[f"{name}.logits"] = classifier(clips).logits
    facts[f"{name}.classes"] = [type(AutoConfig.from_pretrained(folder, **trust)).__name__,
                                type(AutoModel.from_pretrained(folder, **trust)).__name__]
    if name in job["with_preprocessing"]:
        extractor = AutoFeatureExtractor.from_pretrained(folder, **trust)
        results[f"{name}.pixel_values"] = extractor(frames, return_tensors="pt")["pixel_values"]
        extract = pipeline("video-feature-extraction", model=folder, **trust)
        track = extract(job["video"], batch_size=2)
        results[f"{name}.track"], results[f"{name}.centers_s"] = track["features"], track["centers_s"]
        facts[f"{name}.encoder"] = track["encoder"]
        facts[f"{name}.error"] = extract([job["video"], "nothing.mp4"])[1]["error"]
    if name == "published":
        try:
            for auto_class in (AutoImageProcessor, AutoVideoProcessor):
                processor = auto_class.from_pretrained(folder, **trust)
                results[auto_class.__name__] = processor(frames, return_tensors="pt")["pixel_values"]
            scores = pipeline("video-classification", model=folder, **trust)(job["video"], top_k=4)
            facts["classification"] = {score["label"]: score["score"] for score in scores}
        except ImportError as error:
            facts["needs torchvision"] = str(error)
        again = job["again"]
        AutoModelForVideoClassification.from_pretrained(folder, **trust).save_pretrained(again)
        AutoFeatureExtractor.from_pretrained(folder, **trust).save_pretrained(again)
        extract = pipeline("video-feature-extraction", model=again, **trust)
        results["again.track"] = extract(job["video"], batch_size=2)["features"]
    try:
        AutoModel.from_pretrained(folder, trust_remote_code=False)
    except ValueError as error:
        facts[f"{name}.refusal"] = str(error)
facts["modules"] = [name for name in sys.modules if name.partition(".")[0] == "bsp_hf"]
np.savez(job["results"], **{key: np.asarray(value) for key, value in results.items()})
json.dump(facts, open(job["facts"], "w"))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """The ways to save an encoder."""
    where = tmp_path_factory.mktemp("folders")
    model = randomize(BSPForBoundaryClassification(tiny_config())).eval()
    extractor = tiny_extractor(fps=10.0)
    save_checkpoint_folder(model, extractor, where / "published", record={"steps": 3})
    model.save_pretrained(where / "plain")
    regression = BSPForBoundaryRegression(tiny_config()).eval()
    regression.bsp.load_state_dict(model.bsp.state_dict())
    regression.save_pretrained(where / "regression")
    encoder = BSPModel(tiny_config()).eval()
    encoder.load_state_dict(model.bsp.state_dict())
    pipeline(TASK, model=encoder, feature_extractor=extractor).save_pretrained(where / "piped")
    for family in FAMILIES:
        other = BSPForBoundaryClassification(bsp_hf.BSPConfig(backbone_config=tiny_backbone(family)))
        save_checkpoint_folder(randomize(other).eval(), extractor, where / family)
    return {name: where / name for name in ("published", "plain", "regression", "piped", *FAMILIES)}


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return render_video(tmp_path_factory.mktemp("video") / "video.mp4", 50, size=(64, 48))


@pytest.fixture(scope="module")
def without_package(folders, video, tmp_path_factory) -> tuple[dict[str, np.ndarray], dict]:
    """What comes of the folders in a process that has never heard of the package."""
    where = tmp_path_factory.mktemp("elsewhere")
    np.save(where / "clips.npy", random_clips(2, 8, 3, 32, 32).numpy())
    np.save(where / "frames.npy", np.random.default_rng(0).integers(0, 255, (8, 40, 50, 3), np.uint8))
    job = {"results": str(where / "results.npz"), "facts": str(where / "facts.json")}
    job |= {"clips": str(where / "clips.npy"), "frames": str(where / "frames.npy"), "video": str(video)}
    job |= {"again": str(where / "again")}
    job |= {"folders": {name: str(folder) for name, folder in folders.items()}}
    job |= {"with_preprocessing": ["published", "piped", "videomae"]}
    (where / "job.json").write_text(json.dumps(job))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HOME": str(where / "hf_home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_MODULES_CACHE", None)
    finished = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_PACKAGE, str(where / "job.json")],
        cwd=where,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    with np.load(where / "results.npz") as results:
        return dict(results), json.loads((where / "facts.json").read_text())


@pytest.mark.parametrize("name", ["published", "plain", "regression", "piped", *FAMILIES])
def test_features_and_logits_are_equal_to_the_bit_without_the_package(name, folders, without_package):
    results, facts = without_package
    assert facts["modules"] == []
    assert facts[f"{name}.classes"] == ["BSPConfig", "BSPModel"]
    clips = random_clips(2, 8, 3, 32, 32)
    with torch.no_grad():
        features = AutoModel.from_pretrained(folders[name])(clips).pooler_output
        np.testing.assert_array_equal(results[f"{name}.features"], features)
        if name in ("published", "plain", *FAMILIES):
            model = AutoModelForVideoClassification.from_pretrained(folders[name])
            np.testing.assert_array_equal(results[f"{name}.logits"], model(clips).logits)


@pytest.mark.parametrize("name", ["published", "piped", "videomae"])
def test_preprocessing_and_pipeline_are_equal_to_the_bit_without_the_package(
    name, folders, video, without_package, monkeypatch
):
    results, facts = without_package
    frames = np.random.default_rng(0).integers(0, 255, (8, 40, 50, 3), np.uint8)
    pixel_values = tiny_extractor()(frames, return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(results[f"{name}.pixel_values"], pixel_values)
    # The package runs a faster copy of the encoder, which moves features by rounding.
    faster = pipeline(TASK, model=str(folders[name]))(video, batch_size=2)
    np.testing.assert_allclose(faster["features"], results[f"{name}.track"], rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(VideoFeatureExtractionPipeline, "speed_up", None)
    track = pipeline(TASK, model=str(folders[name]))(video, batch_size=2)
    assert track["fps"] == 10
    np.testing.assert_array_equal(results[f"{name}.track"], track["features"])
    np.testing.assert_array_equal(results[f"{name}.centers_s"], track["centers_s"])
    assert facts[f"{name}.encoder"] == track["encoder"]
    assert "nothing.mp4" in facts[f"{name}.error"]


def test_a_folder_saved_again_without_the_package_keeps_its_pipeline(without_package):
    results, _ = without_package
    np.testing.assert_array_equal(results["again.track"], results["published.track"])


def test_stock_use_of_a_published_classifier_works_without_the_package(folders, video, without_package):
    results, facts = without_package
    if "needs torchvision" in facts:
        assert transformers.__version__ < "5.23" and "orchvision" in facts["needs torchvision"]
        pytest.skip("these classes of older transformers need torchvision")
    for auto_class in ("AutoImageProcessor", "AutoVideoProcessor"):
        np.testing.assert_array_equal(results[auto_class], results["published.pixel_values"])
    scores = pipeline("video-classification", model=str(folders["published"]))(str(video), top_k=4)
    assert facts["classification"] == {score["label"]: pytest.approx(score["score"]) for score in scores}


def test_code_of_a_folder_runs_only_if_it_is_trusted(folders, without_package):
    for name in folders:
        assert "trust_remote_code" in without_package[1][f"{name}.refusal"]


def test_with_the_package_nothing_has_to_be_trusted(folders, video):
    for folder in folders.values():
        assert type(AutoConfig.from_pretrained(folder)) is bsp_hf.BSPConfig
        assert type(AutoModel.from_pretrained(folder)) is BSPModel
    for name in ("published", "piped"):
        assert type(AutoFeatureExtractor.from_pretrained(folders[name])) is BSPFeatureExtractor
        assert type(pipeline(TASK, model=str(folders[name]))) is bsp_hf.VideoFeatureExtractionPipeline


def test_the_installed_code_wins_also_where_trust_is_given(folders):
    assert type(AutoModel.from_pretrained(folders["published"], trust_remote_code=True)) is BSPModel


def test_a_published_folder_can_be_saved_again_by_its_pipeline(folders, video, tmp_path):
    first = pipeline(TASK, model=str(folders["published"]))
    first.save_pretrained(tmp_path)
    entry = json.loads((tmp_path / "config.json").read_text())["custom_pipelines"][TASK]
    assert entry["impl"] == "pipeline_video_features.VideoFeatureExtractionPipeline"
    second = pipeline(TASK, model=str(tmp_path))
    np.testing.assert_array_equal(second(video)["features"], first(video)["features"])


def test_published_folder_holds_every_module_the_record_and_no_pickle(folders):
    names = {path.name for path in folders["published"].iterdir()}
    modules = {path.name for path in ENCODER.glob("*.py")} - {"__init__.py"}
    data = {"config.json", "preprocessor_config.json", "video_preprocessor_config.json", "model.safetensors"}
    data |= {"training_record.json", "README.md"}
    assert names == modules | data
    record = json.loads((folders["published"] / "training_record.json").read_text())
    assert record["steps"] == 3 and record["encoder"]["feature_dim"] == 32


@pytest.mark.parametrize("path", sorted(ENCODER.glob("*.py")), ids=lambda path: path.name)
def test_modules_of_the_encoder_import_each_other_flatly_and_nothing_else_of_the_package(path):
    """transformers copies the files of a checkpoint into one folder and finds them by `from .name import`."""
    siblings = {module.stem for module in ENCODER.glob("*.py")}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert all(alias.name.partition(".")[0] != "bsp_hf" for alias in node.names), ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] != "bsp_hf", ast.unparse(node)
            assert node.level <= 1, ast.unparse(node)
            if node.level == 1:
                assert node.module in siblings, ast.unparse(node)
