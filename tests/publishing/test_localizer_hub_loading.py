"""Published localizers find the same segments in a clean process; `-s` prints the transcript."""

from pathlib import Path

import pytest
from support.hub_processes import localize_in_clean_process, publish_by_command
from support.loopback_hub import serve_hub
from support.tiny_localizers import (
    SENTENCE,
    TASKS,
    companions_of,
    render_levels,
    tiny_encoder,
    tiny_extractor,
    tiny_localizer,
)
from transformers import pipeline

from bsp_hf import save_checkpoint_folder, save_localizer_folder

pytestmark = pytest.mark.slow
CARD = ["--license", "mit", "--training-data", "Nothing: the weights are drawn at random."]


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return render_levels(tmp_path_factory.mktemp("videos") / "levels.mp4", [20, 200, 20])


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Every localizer with its encoder, and one whose encoder comes from the Hub by its id."""
    home = tmp_path_factory.mktemp("localizers")
    encoder = save_checkpoint_folder(tiny_encoder(), tiny_extractor(), home / "bsp-tiny")
    return {"encoder": encoder} | {
        kind: save_localizer_folder(
            tiny_localizer(kind), home / f"{kind}-tiny", encoder=encoder, **companions_of(kind)
        )
        for kind in TASKS
    }


@pytest.fixture(scope="module")
def hub(folders):
    with serve_hub() as running:
        for folder in folders.values():
            publish_by_command([folder.name, f"org/{folder.name}", *CARD], running, folder.parent)
        yield running


def localize_here(task: str, model: str, video: Path) -> list[dict]:
    localize = pipeline(task, model=model)
    return list(localize(str(video), SENTENCE) if task == "video-grounding" else localize(str(video)))


def make_job(kind: str, model: str) -> dict[str, str]:
    job = {"task": TASKS[kind], "model": model}
    return {**job, "query": SENTENCE} if TASKS[kind] == "video-grounding" else job


def test_every_localizer_finds_the_same_segments_by_its_id(hub, folders, video, tmp_path):
    jobs = [make_job(kind, f"org/{kind}-tiny") for kind in TASKS]
    environment = hub.environment(tmp_path / "home") | {"HF_TOKEN": ""}
    told = localize_in_clean_process(jobs, video, environment, tmp_path, with_package=True)
    asked = len(hub.requests)
    offline = environment | {"HF_HUB_OFFLINE": "1"}
    cached = localize_in_clean_process(jobs, video, offline, tmp_path, with_package=True)
    assert len(hub.requests) == asked
    for kind, found, again in zip(TASKS, told, cached, strict=True):
        expected = localize_here(TASKS[kind], str(folders[kind]), video)
        assert found.get("segments") == expected, (kind, found)
        assert again.get("segments") == expected, (kind, again)
    assert any(found["segments"] for found in told)


def test_without_the_package_it_is_unknown_as_the_card_says(hub, folders, video, tmp_path):
    environment = hub.environment(tmp_path / "home") | {"HF_TOKEN": ""}
    jobs = [make_job("gtad", "org/gtad-tiny")]
    (told,) = localize_in_clean_process(jobs, video, environment, tmp_path, with_package=False)
    assert "`gtad`" in told["error"] and "does not recognize" in told["error"]
    assert "needed: its code is not in this repository" in (folders["gtad"] / "README.md").read_text()


def test_a_pipeline_pushes_all_that_it_needs(hub, folders, video, tmp_path):
    jobs = [make_job(kind, str(folders[kind])) | {"push_to": f"org/pushed-{kind}"} for kind in TASKS]
    environment = hub.environment(tmp_path / "home")
    told = localize_in_clean_process(jobs, video, environment, tmp_path, with_package=True)
    for kind, found in zip(TASKS, told, strict=True):
        assert found.get("segments") == localize_here(TASKS[kind], str(folders[kind]), video), found
        files = hub.repositories["models", f"org/pushed-{kind}"].find("main").files
        assert {"training_record.json", "encoder/model.safetensors"} <= files.keys()
