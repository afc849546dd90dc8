"""Cards of localizers say what their training recorded, over how many videos, and leave gaps."""

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from support.card_records import LOCALIZER as RECORD
from support.card_records import LOCALIZER_CARD as FILLED

from bsp_hf.publishing.cards.files import find_card_gaps
from bsp_hf.publishing.cards.metrics import collect_metrics
from bsp_hf.publishing.cards.render import LOCALIZER_TASKS, render_card


def rows(text: str) -> dict[str, str]:
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[1].strip() for row in cells if len(row) == 2}


def test_a_card_tells_what_training_recorded_and_over_how_many_videos():
    text = render_card(RECORD | {"card": FILLED}, "org/gtad-anet")
    told = rows(text)
    assert told["localizer"] == "G-TAD" and told["parameters"] == "5,563,268"
    assert told["features"] == "512 numbers, a row every 8 frames at 25 frames a second"
    assert told["encoder"] == (f"`org/bsp-tsm-r18` ({'a' * 40}) and `mine` (weights-1), in this repository")
    assert told["hyper-parameters"] == "learning_rate 0.004, batch_size 16"
    assert (told["setting"], told["optimizer steps"], told["seeds"]) == ("activitynet", "600", "4")
    assert told["videos without features"] == "training 1, evaluation 2"
    assert told["bad rows left out"] == "1" and told["energy"] == "Not measured"
    assert "| anet.json, validation, 4728 of 4926 videos | average_map | 0.341 | 4 | 0123abc |" in text
    assert "best average_map was kept, chosen on these same videos" in text
    assert "nan" not in text and "/data" not in text
    assert 'pipeline("temporal-action-localization", model="org/gtad-anet")' in text
    assert "xu2020gtad" in text and "xu2021boundary" in text
    assert find_card_gaps(text) == ()


def test_the_metadata_are_those_of_the_hub():
    data = ModelCard(render_card(RECORD | {"card": FILLED}, "org/gtad-anet")).data.to_dict()
    assert (data["library_name"], data["license"], data["pipeline_tag"]) == ("bsp_hf", "mit", "other")
    assert data["datasets"] == ["org/anet"] and data["base_model"] == "org/bsp-tsm-r18"
    assert {"bsp_hf", "temporal-action-localization"} <= set(data["tags"])
    name, results = model_index_to_eval_results(data["model-index"])
    assert name == "gtad-anet"
    assert [(r.task_type, r.metric_type, r.metric_value) for r in results] == [
        ("temporal-action-localization", "average_map", 0.3409),
        ("temporal-action-localization", "map@0.5", 0.5036),
    ]
    assert {r.dataset_name for r in results} == {"anet.json, validation, 4728 of 4926 videos"}


@pytest.mark.parametrize("kind", LOCALIZER_TASKS)
def test_what_nobody_recorded_is_said_and_what_only_the_owner_knows_is_a_gap(kind):
    text = render_card({"localizer": {"kind": kind}}, "org/name")
    told = rows(text)
    assert told["setting"] == told["videos without features"] == told["encoder"] == "Not recorded"
    assert "## Results\n\nNot measured.\n" in text and "model-index" not in text
    assert f'pipeline("{LOCALIZER_TASKS[kind]}", model="org/name")' in text
    gaps = find_card_gaps(text)
    assert len(gaps) == 3 and any("`license:`" in gap for gap in gaps)
    assert any("`## Training data`" in gap for gap in gaps) and any("`## Licence`" in gap for gap in gaps)


def test_a_converted_localizer_does_not_claim_to_be_ours():
    conversion = {"source": {"file": "best.pkl", "sha256": "ab12"}}
    text = render_card({"localizer": {"kind": "lgi"}, "conversion": conversion}, "lgi")
    assert "converted from `best.pkl`" in text and "SHA-256 `ab12`" in text
    assert "mun2020local" in text and "xu2021boundary" not in text


def test_chance_is_told_beside_framewise_precision():
    record = {"localizer": {"kind": "actionness"}, "metric": "pooled_ap", "evaluated": "4 of 5 videos"}
    record["results"] = {"pooled_ap": 0.5, "positive_share": 0.25}
    assert [metric.name for metric in collect_metrics(record, "step-localization")] == ["pooled_ap"]
    text = render_card(record, "a")
    assert "0.250 are positive" in text and "| positive_share |" not in text


@pytest.mark.parametrize("localizer", [{"kind": "bmn"}, "gtad"])
def test_records_of_unknown_localizers_are_refused(localizer):
    with pytest.raises(ValueError, match="Save the localizer again"):
        render_card({"localizer": localizer}, "a")
