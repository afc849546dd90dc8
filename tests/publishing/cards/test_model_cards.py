"""The committed cards are those of the committed records, valid, complete, and tell of the real encoders."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from bsp_hf import (
    BSPConfig,
    BSPDistilledConfig,
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    BSPForFeatureDistillation,
    BSPForTwoHeadClassification,
    BSPTwoHeadConfig,
    BSPTwoStreamConfig,
    BSPTwoStreamModel,
    render_card,
)
from bsp_hf.encoder.configuration_bsp import RESNET_VARIANTS
from bsp_hf.publishing.cards.files import find_card_gaps
from bsp_hf.publishing.folder import describe_model

ROOT = Path(__file__).resolve().parents[3]
CARDS = ROOT / "model_cards"
RECORDS = sorted((CARDS / "records").glob("*.json"))
NAMES = ["bsp-distilled-r18", "bsp-tsm-r18", "bsp-tsm-r50", "bsp-two-head-r18", "bsp-two-stream-r18"]


def read(path: Path) -> tuple[dict, str]:
    return json.loads(path.read_text()), (CARDS / f"{path.stem}.md").read_text()


def test_every_encoder_has_a_card_and_a_record():
    assert [path.stem for path in RECORDS] == NAMES == sorted(path.stem for path in CARDS.glob("*.md"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_cards_are_rendered_from_their_records(path):
    record, card = read(path)
    assert render_card(record, record["model_id"]) == card, "run python model_cards/render.py"
    assert record["model_id"].rpartition("/")[2] == path.stem


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_cards_are_complete_and_their_metadata_valid(path):
    record, text = read(path)
    assert find_card_gaps(text, record) == ()
    data = ModelCard(text, ignore_metadata_errors=False).data
    assert data.library_name == "transformers" and data.license == "apache-2.0"
    if not record["metrics"]:
        assert data.eval_results is None and "## Results\n\nNot measured.\n" in text
        return
    name, results = model_index_to_eval_results(data.to_dict()["model-index"])
    assert name == path.stem and len(results) == len(record["metrics"])
    for result, metric in zip(results, record["metrics"], strict=True):
        assert isinstance(result, EvalResult)
        assert result.metric_value == metric["value"] and result.dataset_name == metric["data"]


def test_figures_of_the_small_run_are_those_that_the_documentation_reports():
    record, _ = read(CARDS / "records" / "bsp-tsm-r18.json")
    page = (ROOT / "docs" / "pretraining.md").read_text()
    for seed in record["seeds"]:
        values = [metric["value"] for metric in record["metrics"] if metric["seed"] == seed]
        assert f"| seed{seed} | {' | '.join(f'{value:.3f}' for value in values)} |" in page


def half_width() -> BSPConfig:
    backbone = dict(RESNET_VARIANTS["resnet18"])
    backbone["hidden_sizes"] = [width // 2 for width in backbone["hidden_sizes"]]
    return BSPConfig(backbone_config={**backbone, "embedding_size": 32})


def two_streams() -> BSPTwoStreamConfig:
    return BSPTwoStreamConfig(stream_configs=[BSPConfig.from_backbone_name("resnet18") for _ in range(2)])


ENCODERS = {
    "bsp-distilled-r18": (
        BSPForFeatureDistillation,
        lambda: BSPDistilledConfig.from_backbone_name("resnet18"),
        224,
    ),
    "bsp-tsm-r18": (BSPForBoundaryClassification, half_width, 64),
    "bsp-tsm-r50": (BSPForBoundaryClassification, BSPConfig, 224),
    "bsp-two-head-r18": (
        BSPForTwoHeadClassification,
        lambda: BSPTwoHeadConfig.from_backbone_name("resnet18"),
        224,
    ),
    "bsp-two-stream-r18": (BSPTwoStreamModel, two_streams, 224),
}


@pytest.mark.parametrize("name", NAMES)
def test_records_describe_the_encoders_of_the_package(name):
    model_class, make_config, crop = ENCODERS[name]
    extractor = BSPFeatureExtractor(
        size={"shortest_edge": 256 if crop == 224 else 72}, crop_size={"height": crop, "width": crop}
    )
    with torch.device("meta"):
        model = model_class(make_config())
    record, _ = read(CARDS / "records" / f"{name}.json")
    assert record["encoder"] == describe_model(model, extractor)
