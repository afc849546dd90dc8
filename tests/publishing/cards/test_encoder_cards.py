"""Cards say what was recorded, leave gaps where nobody told, and keep what people wrote."""

import logging

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from support.card_records import ENCODER as RECORD
from support.card_records import ENCODER_CARD as FILLED

from bsp_hf.publishing.cards.files import (
    REQUIRED_SECTIONS,
    find_card_gaps,
    is_as_rendered,
    plan_card,
    read_record,
    write_card,
)
from bsp_hf.publishing.cards.metrics import collect_metrics
from bsp_hf.publishing.cards.render import TO_BE_FILLED_IN, render_card


def rows(text: str) -> dict[str, str]:
    cells = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[1].strip() for row in cells if len(row) == 2}


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_a_card_tells_what_the_record_tells():
    text = render_card(RECORD | {"card": FILLED}, "org/bsp-tsm-r18")
    told = rows(text)
    assert told["parameters"] == "2.81 million" and told["feature"] == "256 numbers a snippet"
    assert told["optimizer steps"] == "20" and told["clips seen"] == "640" and told["seeds"] == "3"
    assert told["hardware"] == "device: cpu, threads: 2" and told["versions"] == "torch 2.13.0"
    assert told["wall-clock time"] == "1.5 min" and told["processor time"] == "2.0 h"
    assert told["energy"] == "Not measured"
    assert "| 80 clips out of 215 held-out videos | accuracy | 0.750 | 3 | 0123abc |" in text
    assert "0.250" not in text and "nan" not in text
    assert "accelerate launch examples/pretrain.py --seed 3" in text
    assert 'model="org/bsp-tsm-r18"' in text and "(num_snippets, 256)" in text
    assert find_card_gaps(text) == ()


def test_the_metadata_are_those_of_the_hub():
    card = ModelCard(render_card(RECORD | {"card": {**FILLED, "datasets": ["ucf101"]}}, "org/bsp-tsm-r18"))
    data = card.data.to_dict()
    assert data["library_name"] == "transformers" and data["license"] == "apache-2.0"
    assert data["pipeline_tag"] == "video-classification" and data["datasets"] == ["ucf101"]
    assert data["base_model"] == "microsoft/resnet-18" and "bsp_hf" in data["tags"]
    name, results = model_index_to_eval_results(data["model-index"])
    assert name == "bsp-tsm-r18"
    assert [(r.metric_type, r.metric_value) for r in results] == [
        ("accuracy", 0.75),
        ("loss", 0.5),
        ("recall", 1.0),
    ]


def test_an_encoder_without_a_classifier_does_not_claim_to_classify():
    record = {"encoder": RECORD["encoder"] | {"num_labels": None}}
    assert ModelCard(render_card(record, "a")).data.pipeline_tag == "feature-extraction"


def test_what_was_not_measured_says_so_and_what_only_the_owner_knows_is_a_gap():
    text = render_card({}, "org/name")
    told = rows(text)
    assert told["energy"] == told["wall-clock time"] == "Not measured"
    assert told["task"] == told["commit"] == told["hardware"] == "Not recorded"
    assert "## Results\n\nNot measured.\n" in text and "model-index" not in text
    gaps = find_card_gaps(text)
    assert len(gaps) == 3
    assert any("`license:`" in gap for gap in gaps)
    assert sum(TO_BE_FILLED_IN in gap for gap in gaps) == 2


def test_rendered_clips_need_no_word_about_their_data():
    record = {"arguments": {"video_dir": None}, "num_sources": {"training": 40, "held_out": 20}}
    assert "All of them were rendered by bsp_hf" in section(render_card(record, "a"), "Training data")
    named = render_card(record | {"arguments": {"video_dir": "x"}}, "a")
    assert TO_BE_FILLED_IN in section(named, "Training data") and "rendered by" not in section(
        named, "Training data"
    )


def test_a_converted_encoder_does_not_claim_to_be_ours():
    conversion = {"source": {"file": "tsm.pth", "sha256": "ab12"}}
    text = render_card({"conversion": conversion}, "tsm")
    assert "converted from `tsm.pth`" in text and "SHA-256 `ab12`" in text and "xu2021boundary" not in text
    assert any("Citation" in gap for gap in find_card_gaps(text))


@pytest.mark.parametrize("section", REQUIRED_SECTIONS)
def test_every_required_section_is_missed(section):
    text = render_card(RECORD | {"card": FILLED}, "org/name")
    assert find_card_gaps(text.replace(f"## {section}\n", "## Elsewhere\n")) == (
        f"there is no section `## {section}`",
    )
    head, _, tail = text.partition(f"## {section}\n")
    emptied = head + f"## {section}\n\n" + tail[tail.find("\n## ") + 1 if "\n## " in tail else len(tail) :]
    assert find_card_gaps(emptied) == (f"section `## {section}` is empty",)


@pytest.mark.parametrize("name", ["license", "library_name", "pipeline_tag", "tags"])
def test_every_required_metadata_is_missed(name):
    text = render_card(RECORD | {"card": FILLED}, "org/name")
    assert find_card_gaps(text.replace(f"\n{name}:", f"\nno_{name}:")) == (f"metadata `{name}:` is empty",)


def test_metadata_that_cannot_be_read_are_a_gap():
    (gap,) = find_card_gaps("---\nlicense: [\n---\n")
    assert "metadata cannot be read" in gap


def test_unknown_fields_are_refused():
    with pytest.raises(ValueError, match="licence is not one of its fields"):
        render_card({"card": {"licence": "mit"}}, "a")


def test_listed_metrics_come_before_those_of_the_history():
    listed = [{"name": "accuracy", "value": 0.873, "data": "1720 clips", "seed": 1, "command": "evaluate"}]
    (metric,) = collect_metrics(RECORD | {"metrics": listed})
    assert (metric.seed, metric.command, metric.commit, metric.metric_type) == (
        1,
        "evaluate",
        "0123abc",
        "accuracy",
    )
    assert collect_metrics(RECORD | {"metrics": []}) == ()


def test_an_edited_card_is_kept_and_an_untouched_one_renewed(tmp_path, caplog):
    path = write_card(tmp_path, {"task": "boundary"}, model_id="org/a")
    assert is_as_rendered(path.read_text())
    write_card(tmp_path, {"task": "speed"}, model_id="org/a")
    assert rows(path.read_text())["task"] == "speed"
    mine = path.read_text().replace("Not measured.", "Measured by me: 0.5.")
    path.write_text(mine)
    assert not is_as_rendered(mine)
    with caplog.at_level(logging.WARNING):
        write_card(tmp_path, {"task": "boundary"})
    assert path.read_text() == mine and "was edited and is kept" in caplog.text
    write_card(tmp_path, {"task": "boundary"}, replace=True)
    assert rows(path.read_text())["task"] == "boundary"


def test_a_card_of_another_record_is_a_gap():
    text = render_card(RECORD | {"card": FILLED}, "org/name")
    assert find_card_gaps(text, RECORD | {"card": FILLED}) == ()
    (gap,) = find_card_gaps(text, RECORD | {"card": FILLED, "clips_seen": 641})
    assert "another training_record.json" in gap


def test_planning_needs_a_record(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"training_record.json is missing"):
        plan_card(tmp_path, "org/a")
    (tmp_path / "training_record.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold a JSON object"):
        read_record(tmp_path)
    (tmp_path / "training_record.json").write_text("{")
    with pytest.raises(ValueError, match="is not a readable JSON file"):
        read_record(tmp_path)
