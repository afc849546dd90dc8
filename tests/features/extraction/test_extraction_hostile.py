"""Every awkward file of the data kit through the job: each behaves as its row says."""

import csv
import json
import shutil

import pytest
import torch

from bsp_hf import (
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    extract_features,
    save_checkpoint_folder,
)
from bsp_hf.features import read_track


@pytest.mark.parametrize("keep_partial", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_every_hostile_file_behaves_as_its_row_says(shared_data, tiny_encoder, tmp_path, keep_partial):
    with open(shared_data / "hostile" / "expected.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    (tmp_path / "all.txt").write_text("\n".join(str(shared_data / "hostile" / row["file"]) for row in rows))
    report = extract_features(
        tmp_path / "all.txt", tiny_encoder, tmp_path / "out", keep_partial=keep_partial, show_progress=False
    )
    got = dict.fromkeys(report.done, "ok")
    got |= {video.video_id: "partial" for video in report.partial}
    got |= {video.video_id: "error" for video in report.failed}
    reasons = {video.video_id: video.reason for video in (*report.partial, *report.failed)}
    print(f"\n{'file':24} {'expected':9} {'got':9} frames")
    wrong = []
    for row in rows:
        video_id, outcome = row["file"].rpartition(".")[0], row["outcome"]
        path = tmp_path / "out" / f"{video_id}.npy"
        frames = read_track(path).record.num_frames if path.exists() else ""
        reason = reasons.get(video_id, "")
        print(f"{row['file']:24} {outcome:9} {got[video_id]:9} {frames:<6} {reason}")
        is_written = outcome == "ok" or (outcome == "partial" and keep_partial)
        expected_frames = int(row["frames"]) if is_written else ""
        if got[video_id] != outcome or frames != expected_frames or (outcome == "ok") != (reason == ""):
            wrong.append(row["file"])
    assert not wrong
    assert report.exit_status == 1
    told = (tmp_path / "out" / "failures.csv").read_text()
    assert all(row["file"] in told for row in rows if row["outcome"] != "ok")
    assert not any(row["file"] in told for row in rows if row["outcome"] == "ok")


def test_an_encoder_that_gives_nan_fails_the_video(tmp_path, tiny_encoder, clips):
    """Whatever the video; no file of features is left."""
    model = BSPForBoundaryClassification.from_pretrained(tiny_encoder)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    extractor = BSPFeatureExtractor.from_pretrained(tiny_encoder)
    broken = save_checkpoint_folder(model, extractor, tmp_path / "broken")
    report = extract_features(clips, broken, tmp_path / "out", show_progress=False)
    assert not report.done and report.exit_status != 0
    reasons = {failed.video_id: failed.reason for failed in report.failed}
    assert "feature rows of b are not finite, first row 0" in reasons["b"]
    assert {"b", "c", "kitchen/a"} <= reasons.keys()
    assert not list((tmp_path / "out").rglob("*.npy"))


WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
DEEP = {"deep lists": "[" * 10**5, "deep objects": '{"a":' * 10**5}
NO_OBJECTS = {"nothing": "", "a list": "[]", "a number": "7", "half": "{", "bytes": "\udcff\udcfe", **DEEP}
SETTINGS = [
    (CONFIG, {"num_frames": 1e300}),
    (CONFIG, {"num_frames": 10**18}),
    (CONFIG, {"num_frames": "eight"}),
    (CONFIG, {"shift_div": 10**30}),
    (CONFIG, {"classifier_dropout": "much"}),
    *(
        (PREPROCESSOR, {"fps": fps})
        for fps in (1e300, 10_001, 1e-300, 10**400, "fast", [25], float("nan"), True)
    ),
    *((PREPROCESSOR, {"fps": fps}) for fps in (float("inf"), -1)),
    *((PREPROCESSOR, {"num_frames": number}) for number in (10**9, 8.5, "8", 0, None, True)),
    *((PREPROCESSOR, {"stride_frames": number}) for number in (10**18, -1, "x")),
    (PREPROCESSOR, {"size": {"shortest_edge": 10**9}}),
    (PREPROCESSOR, {"size": {"shortest_edge": None}}),
    (PREPROCESSOR, {"size": {"longest_edge": 256}}),
    (PREPROCESSOR, {"crop_size": {"height": 32, "width": 10**9}}),
    (PREPROCESSOR, {"crop_size": {"height": "32", "width": 32}}),
    *((PREPROCESSOR, {"image_mean": mean}) for mean in ("x", [float("nan")] * 3, [0.5], [None] * 3)),
    *((PREPROCESSOR, {"image_std": std}) for std in ([0, 0, 0], [1, 1, float("inf")])),
    (PREPROCESSOR, {"rescale_factor": "1/255"}),
    (PREPROCESSOR, {"do_resize": "yes"}),
    (PREPROCESSOR, {"padding": "mirror"}),
]


@pytest.fixture
def damaged(tiny_encoder, tmp_path):
    """A copy of an encoder to damage."""
    return shutil.copytree(tiny_encoder, tmp_path / "damaged")


def assert_refused(folder, clips, file):
    with pytest.raises(ValueError) as error:
        extract_features(clips / "c.mkv", folder, folder.parent / "out", show_progress=False)
    said = str(error.value)
    assert said.startswith(str(folder)) and file in said and said.count("\n") == 0 and len(said) < 600


@pytest.mark.parametrize(
    "content",
    [b"", b"abcd", b"<html>not found</html>", (10**15).to_bytes(8, "little") + b"{}", 0.5, 0.999],
    ids=["empty", "short", "a page", "giant header", "half", "nearly whole"],
)
def test_weights_that_are_not_whole_are_one_error_that_names_the_file(damaged, clips, content):
    whole = (damaged / WEIGHTS).read_bytes()
    (damaged / WEIGHTS).write_bytes(
        whole[: int(content * len(whole))] if isinstance(content, float) else content
    )
    assert_refused(damaged, clips, WEIGHTS)


@pytest.mark.parametrize("name", [CONFIG, PREPROCESSOR, INDEX])
@pytest.mark.parametrize("text", NO_OBJECTS.values(), ids=NO_OBJECTS)
def test_settings_that_are_no_json_object_are_one_error_that_names_the_file(damaged, clips, name, text):
    if name == INDEX:
        (damaged / WEIGHTS).rename(damaged / "model-00001-of-00001.safetensors")
    (damaged / name).write_text(text, errors="surrogateescape")
    assert_refused(damaged, clips, name)


@pytest.mark.parametrize(
    "index",
    [
        {},
        {"weight_map": 7},
        {"weight_map": {"a": 7}},
        {"weight_map": {"a": "gone.safetensors"}},
        {"weight_map": {"a": "../damaged/model-00001-of-00001.safetensors"}},
        {"weight_map": {"a": CONFIG}},
    ],
)
def test_an_index_of_shards_that_leads_nowhere_is_one_error(damaged, clips, index):
    (damaged / WEIGHTS).rename(damaged / "model-00001-of-00001.safetensors")
    (damaged / INDEX).write_text(json.dumps(index))
    assert_refused(damaged, clips, CONFIG if index.get("weight_map") == {"a": CONFIG} else INDEX)


@pytest.mark.parametrize(("name", "fields"), SETTINGS)
def test_absurd_settings_are_one_error_that_names_the_file(damaged, clips, name, fields):
    content = json.loads((damaged / name).read_text())
    (damaged / name).write_text(json.dumps({**content, **fields}))
    assert_refused(damaged, clips, name)


@pytest.mark.parametrize("fps", [0, -5, 1e300, 1e-300, float("nan"), float("inf")])
def test_absurd_rates_are_refused_before_any_work(tiny_encoder, clips, tmp_path, fps):
    with pytest.raises(ValueError, match="fps must be"):
        extract_features(clips, tiny_encoder, tmp_path / "out", fps=fps)
    assert list(tmp_path.iterdir()) == []
