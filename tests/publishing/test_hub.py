"""Folders are published whole, once, and only if they are fit for it; against a Hub on the loopback."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, ModelCard, constants
from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file, save_file
from support.hub_repositories import Refusal
from support.loopback_hub import TOKEN, LoopbackHub, serve_hub
from transformers import AutoModel, AutoModelForVideoClassification

from bsp_hf import (
    BSPConfig,
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    pretrained_path,
    publish_folder,
    save_checkpoint_folder,
)
from bsp_hf.pretrained import DEFAULT_DETECTOR, PACKAGED
from bsp_hf.publishing.cards.files import write_card
from bsp_hf.publishing.hub import RemoteChangedError

REPO = "org/bsp-tsm-r18"
CARD = {"license": "apache-2.0", "training_data": "Two rendered videos."}


@pytest.fixture
def hub(monkeypatch):
    # The tests are offline but for this: the settings are read at every call.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with serve_hub() as running:
        yield running


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    backbone = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    torch.manual_seed(0)
    model = BSPForBoundaryClassification(BSPConfig(backbone_config=backbone))
    extractor = BSPFeatureExtractor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32})
    return save_checkpoint_folder(
        model, extractor, tmp_path_factory.mktemp("saved") / "my-encoder", {"steps": 3}
    )


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "my-encoder")


def publish(hub: LoopbackHub, folder, repo_id=REPO, **options):
    return publish_folder(folder, repo_id, **{"card": CARD, "token": TOKEN, "endpoint": hub.url, **options})


def refuses(folder, *reasons, **options):
    """Publishing fails before the network is asked; it would fail otherwise, as there is none."""
    with pytest.raises(ValueError, match="cannot be published") as raised:
        publish_folder(folder, REPO, **{"card": CARD, "endpoint": "http://127.0.0.1:9", **options})
    for reason in reasons:
        assert reason in str(raised.value)
    return str(raised.value)


def test_everything_goes_in_one_commit_and_arrives_as_it_is(hub, folder):
    (folder / "curves.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    report = publish(hub, folder)
    repository = hub.repositories["models", REPO]
    assert [commit.title for commit in repository.history("main")] == ["Publish my-encoder", "initial commit"]
    assert report.commit == repository.branches["main"] and report.url.endswith(report.commit)
    names = {path.name for path in folder.iterdir()}
    assert {file.path for file in report.files} == names
    assert set(repository.find("main").files) == names | {".gitattributes"}
    assert {"model.safetensors", "modeling_bsp.py", "pipeline_video_features.py", "curves.png"} <= names
    for name in names:
        assert hub.read(REPO, name) == (folder / name).read_bytes()
    assert len(hub.uploads) == 2  # the weights and the picture; text goes with the commit
    card = (folder / "README.md").read_text()
    assert f'model="{REPO}"' in card and "license: apache-2.0" in card
    assert json.loads((folder / "training_record.json").read_text())["card"] == CARD


def test_a_second_time_nothing_is_sent_and_no_commit_made(hub, folder):
    first = publish(hub, folder)
    sent = len(hub.requests)
    second = publish(hub, folder)
    assert second.commit == first.commit and {file.state for file in second.files} == {"unchanged"}
    assert not any("/commit/" in line or "preupload" in line for line in hub.requests[sent:])


@pytest.mark.slow
def test_only_what_has_changed_is_sent(hub, folder):
    publish(hub, folder)
    uploads = len(hub.uploads)
    write_card(folder, {"note": "other", "card": CARD}, replace=True)
    (folder / "training_record.json").write_text(json.dumps({"note": "other", "card": CARD}))
    report = publish(hub, folder)
    changed = {file.path for file in report.files if file.state != "unchanged"}
    assert changed == {"README.md", "training_record.json"} and len(hub.uploads) == uploads


def split_weights(folder):
    """The same weights in two files, as large models have them."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    index = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
        index |= dict.fromkeys(part, file)
    content = {"metadata": {"total_size": 1}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


def test_an_interrupted_upload_is_gone_on_with(hub, folder):
    split_weights(folder)

    def fail_at_the_second(number):
        if number == 1:
            raise Refusal(403, "the line went dead")

    hub.on_upload = fail_at_the_second
    with pytest.raises(OSError, match="Publish again to continue"):
        publish(hub, folder)
    assert len(hub.uploads) == 1
    assert [c.title for c in hub.repositories["models", REPO].history("main")] == ["initial commit"]

    hub.on_upload = lambda number: None
    publish(hub, folder)
    assert len(hub.uploads) == len(set(hub.uploads)) == 2
    assert len(list(hub.repositories["models", REPO].history("main"))) == 2


def test_a_commit_of_somebody_else_in_between_stops_it(hub, folder):
    publish(hub, folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: 2 * value for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    repository = hub.repositories["models", REPO]

    def commit_something(number):
        head = repository.find("main")
        repository.branches["main"] = repository.add("by another hand", head.oid, head.files).oid

    hub.on_upload = commit_something
    with pytest.raises(RemoteChangedError, match="somebody else committed"):
        publish(hub, folder)
    assert repository.find("main").title == "by another hand"
    hub.on_upload = lambda number: None
    assert publish(hub, folder).commit == repository.branches["main"]


@pytest.mark.slow
def test_a_parent_that_is_no_more_the_newest_is_refused_before_anything_is_sent(hub, folder):
    first = publish(hub, folder)
    (folder / "NOTICE").write_text("thanks")
    publish(hub, folder, parent_commit=first.commit)
    (folder / "NOTICE").write_text("many thanks")
    with pytest.raises(RemoteChangedError, match=first.commit[:12]):
        publish(hub, folder, parent_commit=first.commit)


@pytest.mark.slow
def test_branches_tags_and_pull_requests(hub, folder):
    first = publish(hub, folder, tag="v1")
    (folder / "NOTICE").write_text("thanks")
    second = publish(hub, folder, revision="dev")
    (folder / "NOTICE").write_text("many thanks")
    third = publish(hub, folder, create_pr=True)
    repository = hub.repositories["models", REPO]
    assert repository.tags == {"v1": first.commit} and first.tag == "v1"
    assert repository.branches == {"main": first.commit, "dev": second.commit}
    assert repository.pulls == {"refs/pr/1": third.commit} and third.url.endswith("discussions/1")
    assert "NOTICE" not in repository.find("main").files
    with pytest.raises(ValueError, match="cannot be tagged"):
        publish(hub, folder, create_pr=True, tag="v2")


@pytest.mark.slow
def test_private_stays_private(hub, folder):
    publish(hub, folder, private=True)
    anonymous = HfApi(endpoint=hub.url, token=False)
    with pytest.raises(HfHubHTTPError, match="401"):
        anonymous.model_info(REPO)
    assert HfApi(endpoint=hub.url, token=TOKEN).model_info(REPO).private
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        publish(hub, folder, token="hf_wrong")
    publish(hub, folder, "org/public")
    with pytest.raises(ValueError, match="exists and is public"):
        publish(hub, folder, "org/public", private=True)


@pytest.mark.slow
def test_what_the_repository_holds_besides_is_kept_and_told(hub, folder):
    publish(hub, folder)
    HfApi(endpoint=hub.url, token=TOKEN).upload_file(
        path_or_fileobj=b"old", path_in_repo="old.txt", repo_id=REPO
    )
    report = publish(hub, folder)
    assert report.kept == ("old.txt",) and "old.txt" in str(report)


def test_a_dry_run_asks_nobody_and_writes_nothing(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    report = publish_folder(folder, REPO, card=CARD, endpoint="http://127.0.0.1:9", dry_run=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    size = (folder / "model.safetensors").stat().st_size
    weights = next(file for file in report.files if file.path == "model.safetensors")
    assert weights.size_bytes == size and weights.state == "planned" and report.commit is None
    assert "would be published" in str(report) and "model.safetensors" in str(report)


def test_working_files_stay_at_home(folder):
    for name in ("checkpoints/step-00000002/optimizer.bin", "bsp-pretrain/events.out.tfevents.1", ".cache/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "frame_counts.json").write_text("{}")
    report = publish_folder(folder, REPO, card=CARD, dry_run=True)
    assert len(report.left_out) == 4
    assert not {"frame_counts.json", "checkpoints"} & {file.path.split("/")[0] for file in report.files}


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "training_record.json",
                                  "model.safetensors", "modeling_tsm.py",
                                  "pipeline_video_features.py", "video_file.py"])  # fmt: skip
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refuses(folder, f"{name} is missing")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pytorch_model.bin", "pytorch_model.bin may be a pickle"),
        ("optimizer.pt", "optimizer.pt may be a pickle"),
        ("extras/state.pkl", "extras/state.pkl may be a pickle"),
        ("install.py", "install.py does not belong"),
        ("video.mp4", "video.mp4 does not belong"),
        ("other.safetensors", "other.safetensors does not belong"),
        ("photos/me.png", "photos/me.png does not belong"),
    ],
)
def test_what_does_not_belong_is_refused(folder, name, reason):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    refuses(folder, reason)


def test_no_link_is_followed_out_of_the_folder(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "NOTICE").write_text("not to be published")
    (folder / "NOTICE").symlink_to(secret / "NOTICE")
    (folder / "pictures").symlink_to(secret, target_is_directory=True)
    (folder / "LICENSE").symlink_to("../secret/NOTICE")
    weights = folder / "model.safetensors"
    weights.rename(secret / "weights")
    weights.symlink_to(secret / "weights")
    said = refuses(folder)
    for name in ("LICENSE", "NOTICE", "model.safetensors", "pictures"):
        assert f"{name} is a link that leads out of the folder" in said


def test_links_within_the_folder_and_those_of_working_files_do_no_harm(hub, folder, tmp_path):
    (folder / "LICENSE").write_text("the terms")
    (folder / "NOTICE").symlink_to("LICENSE")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "latest").symlink_to(tmp_path)
    report = publish(hub, folder)
    assert hub.read(REPO, "NOTICE") == b"the terms"
    assert not any(file.path.startswith("checkpoints") for file in report.files)


def test_code_outside_the_folder_is_not_read(folder, tmp_path):
    (tmp_path / "outside.py").write_text("from .snippets import Nothing")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["auto_map"]["AutoModel"] = "../outside.Model"
    path.write_text(json.dumps(config))
    refuses(folder, "../outside.py is missing")


def test_weights_that_do_not_load_are_refused(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    weights = load_file(path)
    name = "classifier.bias"
    save_file({key: value for key, value in weights.items() if key != name}, path, {"format": "pt"})
    refuses(folder, f"1 weights are missing, for instance {name}")
    save_file(weights | {name: torch.full_like(weights[name], np.nan)}, path, {"format": "pt"})
    refuses(folder, f"1 weights are not finite, for instance {name}")
    save_file(weights | {"more": torch.zeros(1)}, path, {"format": "pt"})
    refuses(folder, "1 weights are not the model's, for instance more")
    path.write_bytes(whole[: len(whole) // 2])
    refuses(folder, "it does not load", "model.safetensors")


def test_configs_that_lead_nowhere_are_refused(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(
        json.dumps({k: v for k, v in config.items() if k not in ("auto_map", "custom_pipelines")})
    )
    refuses(folder, "no AutoModel in auto_map", "no custom_pipelines entry", "save_checkpoint_folder")
    path.write_text(json.dumps(config | {"auto_map": {"AutoConfig": "org/other--a.B", "AutoModel": "a.C"}}))
    refuses(folder, "auto_map takes AutoConfig from another repository", "a.py is missing")
    path.write_text(json.dumps(config | {"architectures": ["ResNetModel"]}))
    refuses(folder, "ResNetModel, which bsp_hf does not have")
    path.write_text("{")
    refuses(folder, "config.json cannot be read")


def test_a_card_with_gaps_is_refused_and_the_gaps_are_named(folder):
    said = refuses(folder, "metadata `license:` is empty", "`## Training data`", "`## Licence`", card=None)
    assert "Intended use" not in said  # has a default
    refuses(folder, "`## Licence`", card={"training_data": "Mine."})


def test_a_card_that_is_missing_is_rendered_from_the_record(hub, folder):
    (folder / "README.md").unlink()
    publish(hub, folder)
    card = hub.read(REPO, "README.md").decode()
    assert "license: apache-2.0" in card and card == (folder / "README.md").read_text()


def test_an_edited_card_is_published_as_it_is_and_checked_all_the_same(hub, folder):
    path = folder / "README.md"
    with pytest.raises(ValueError, match="license, training_data must be filled in there"):
        path.write_text(path.read_text().replace("# my-encoder", "# My own words"))
        publish(hub, folder)
    refuses(folder, "metadata `license:` is empty", card=None)
    text = path.read_text().replace("[To be filled in]", "Told by me").replace("tags:", "license: mit\ntags:")
    path.write_text(text)
    publish(hub, folder, card=None)
    assert hub.read(REPO, "README.md").decode() == text
    path.write_text(text.replace("## Limits", "## Something"))
    refuses(folder, "no section `## Limits`", card=None)


def test_a_card_of_other_weights_is_refused(folder):
    (folder / "training_record.json").write_text(json.dumps({"steps": 4}))
    path = folder / "README.md"
    path.write_text(path.read_text().replace("# my-encoder", "# My own words"))
    refuses(folder, "rendered from another training_record.json", card=None)


def test_paths_of_the_machine_are_pointed_out(folder):
    record = {"arguments": {"video_dir": "/home/ann/clips"}, "card": CARD}
    (folder / "training_record.json").write_text(json.dumps(record))
    write_card(folder, record, replace=True)
    report = publish_folder(folder, REPO, dry_run=True)
    assert report.notes == ("training_record.json names /home/ann/clips; change it if nobody is to know",)


def test_impossible_requests(tmp_path, folder):
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        publish_folder(tmp_path / "nothing", REPO)
    with pytest.raises(ValueError, match="needs its owner, as in 'org/name'"):
        publish_folder(folder, "name")


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_encoders_are_published_whole_and_load_from_what_arrived(name, hub, tmp_path):
    packaged = Path(pretrained_path(name))
    auto_class = AutoModelForVideoClassification if name == DEFAULT_DETECTOR else AutoModel
    record = json.loads((packaged / "training_record.json").read_text())
    del record["card"]["python_name"]  # from the Hub it has the name of its repository
    folder = save_checkpoint_folder(
        auto_class.from_pretrained(packaged),
        BSPFeatureExtractor.from_pretrained(packaged),
        tmp_path / name,
        record,
    )
    report = publish(hub, folder)
    names = {file.path for file in report.files}
    assert names == {path.name for path in folder.iterdir()}
    assert {"video_preprocessor_config.json", "README.md", "training_record.json"} <= names
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    for file in names:
        (arrived / file).write_bytes(hub.read(REPO, file))
    card = ModelCard.load(arrived / "README.md")
    assert card.data.license == "apache-2.0" and f'model="{REPO}"' in card.text
    if name == DEFAULT_DETECTOR:
        assert "| recall of diff-class | 0.959 |" in card.text
    pixels = torch.rand(1, 8, 3, 96, 96)
    with torch.no_grad():
        first, second = (AutoModel.from_pretrained(place).eval()(pixels) for place in (packaged, arrived))
    assert torch.equal(first.pooler_output, second.pooler_output)
