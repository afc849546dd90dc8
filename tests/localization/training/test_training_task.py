"""What training is made of: splits, missing videos, samples, scores and result files."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.made_videos import CLASSES, DIM, ENCODER, make_videos

from bsp_hf.features import EncoderRecord, FeatureSource, FeatureTrack, read_track, write_track
from bsp_hf.localization.actionness.configuration_actionness import ActionnessConfig
from bsp_hf.localization.annotations.layouts import read_annotations
from bsp_hf.localization.evaluation import EvaluationOptions, evaluate_files
from bsp_hf.localization.gtad.video_classes import read_class_score_file
from bsp_hf.localization.suppression import Detections
from bsp_hf.localization.tan.samples import average_rows
from bsp_hf.localization.training.settings import LocalizerTrainingSettings
from bsp_hf.localization.training.split import prepare_split, split_at_random
from bsp_hf.localization.training.task import FeatureCache
from bsp_hf.localization.training_arguments import PRESETS, load_task
from bsp_hf.training.command_line import parse_settings

TINY = {
    "gtad": {"num_steps": 16, "max_duration": 16, "hidden_dim": 16, "num_groups": 2, "group_width": 2},
    "tan": {"num_rows": 16, "num_clips": 8, "scale_layers": [8], "hidden_dim": 8, "text_hidden_dim": 8,
            "map_kernel_sizes": [3], "map_paddings": [1]},
    "lgi": {"num_rows": 16, "hidden_dim": 8, "word_dim": 6, "attention_dim": 4, "num_heads": 2},
    "actionness": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_videos(tmp_path_factory.mktemp("made"))


def parse(folder, localizer, *more, config=None):
    words = ["--localizer", localizer, "--annotations", folder / "annotations.json", "--output_dir", "out"]
    words += ["--features", folder / "features", "--train_subset", "train", "--eval_subset", "test", *more]
    if localizer == "tan":
        words += ["--word_vectors", folder / "words.npz"]
    words += ["--config", json.dumps(config or TINY[localizer])]
    return parse_settings(LocalizerTrainingSettings, [str(word) for word in words])


@pytest.mark.parametrize("localizer", PRESETS)
def test_batches_train_the_model_and_decoded_samples_are_scored_and_written(folder, localizer, tmp_path):
    more = ["--class_scores", folder / "class_scores.json"] if localizer == "gtad" else []
    task = load_task(parse(folder, localizer, *more))
    assert task.config.encoder == ENCODER.to_dict()
    assert (task.config.feature_dim, task.config.feature_stride_frames) == (DIM, 8)
    model = task.make_model()
    batch = task.collate([task.train_samples[index] for index in (0, 3, 5)])
    assert batch.pop("indices").tolist() == [0, 3, 5]
    loss = model(**batch).loss
    loss.backward()
    assert torch.isfinite(loss) and any(p.grad is not None for p in model.parameters())
    decoded = {}
    with torch.no_grad():
        for index in range(len(task.eval_samples)):
            batch = task.collate([task.eval_samples[index]])
            indices = batch.pop("indices").tolist()
            decoded.update(task.decode(model.eval()(**batch), indices))
    scores = task.score(decoded)
    assert task.metric in scores and all(np.isfinite(value) for value in scores.values())
    assert all(path.is_file() for path in task.write_results(decoded, tmp_path))


def test_published_hyper_parameters_are_the_defaults(folder):
    settings = parse(folder, "gtad", "--epochs", "3")
    assert settings.choose_hyperparameters(PRESETS["gtad"]["activitynet"]).epochs == 3
    published = {
        (name, preset): (found.learning_rate, found.weight_decay, found.batch_size, found.epochs,
                         found.max_grad_norm, found.decay_epochs, found.plateau_factor)
        for name, presets in PRESETS.items() for preset, found in presets.items()
    }  # fmt: skip
    # SPEC 4.10, 5.5, 6.5; the optimiser of linear actionness was not published.
    assert published == {
        ("gtad", "activitynet"): (4e-3, 1e-4, 16, 10, None, 5, None),
        ("gtad", "thumos14"): (4e-5, 1e-4, 8, 10, 1.0, 5, None),
        ("tan", "charades"): (1e-4, 0.0, 32, 100, 10.0, None, None),
        ("tan", "activitynet_captions"): (1e-4, 0.0, 32, 100, 10.0, None, 0.8),
        ("tan", "tacos"): (1e-4, 0.0, 32, 100, 10.0, None, 0.8),
        ("lgi", "charades"): (4e-4, 0.0, 100, 500, None, None, None),
        ("lgi", "activitynet_captions"): (4e-4, 0.0, 100, 300, None, None, None),
        ("actionness", "crosstask"): (1e-3, 0.0, 8, 30, None, None, None),
    }
    assert PRESETS["tan"]["tacos"].plateau_patience == 20
    constant = parse(folder, "tan", "--plateau_factor", "1").choose_hyperparameters(PRESETS["tan"]["tacos"])
    assert PRESETS["tan"]["tacos"].watches_loss and not constant.watches_loss


def test_the_loss_that_the_schedule_watches_is_that_of_each_query(folder):
    task = load_task(parse(folder, "tan"))
    model = task.make_model().eval()
    alone, together = {}, {}
    with torch.no_grad():
        for groups, found in (([[0], [1], [2]], alone), ([[2, 0, 1]], together)):
            for indices in groups:
                batch = task.collate([task.eval_samples[index] for index in indices])
                assert batch.pop("indices").tolist() == indices
                output = model(**batch)
                found.update(task.evaluation_losses(output, batch, indices))
                assert output.loss.item() == pytest.approx(sum(found[i] for i in indices) / len(indices))
    assert alone == pytest.approx(together) and len(set(alone.values())) == 3


def test_maps_of_the_true_targets_give_the_segments_back_through_windows_and_suppression(folder):
    task = load_task(parse(folder, "gtad", "--preset", "thumos14"))
    assert any(item.first_row for item in task.eval_samples.items)
    decoded = {}
    for index, item in enumerate(task.eval_samples.items):
        _, targets = task.prepare_training(task.features.read(item.video.video_id), item, None)
        decoded[index] = np.stack([targets.iou_map, targets.iou_map]) ** 4
    perfect = task.score(decoded)
    # Times are rounded to 0.1 s, and windows that cut a segment propose its part.
    assert perfect["map@0.3"] > 0.85
    flat = {index: np.full_like(maps, 0.5) for index, maps in decoded.items()}
    assert task.score(flat)["map@0.3"] < perfect["map@0.3"] / 2


def test_videos_without_features_are_named_and_left_out(folder, caplog):
    everything = read_annotations(folder / "annotations.json")
    source = FeatureSource(folder / "features")
    lacking = read_annotations(folder / "annotations.json").of_subset("test")
    extra = type(lacking.videos[0])("v99", 5.0, "test")
    test = type(lacking)((*lacking.videos, extra))
    split = prepare_split(everything.of_subset("train"), test, source)
    assert (split.missing_evaluation, split.coverage) == (("v99",), "4 of 5 videos")
    assert "1 of 5 evaluation videos have no features: v99" in caplog.text
    with pytest.raises(ValueError, match="none of the 1 evaluation videos has features, first 'v99'"):
        prepare_split(everything.of_subset("train"), type(lacking)((extra,)), source)
    with pytest.raises(ValueError, match="4 videos are both trained and evaluated on"):
        prepare_split(everything, everything.of_subset("test"), source)


def test_durations_come_from_features_where_annotations_are_silent(folder):
    everything = read_annotations(folder / "annotations.json")
    silent = type(everything)(
        tuple(type(v)(v.video_id, None, v.subset, v.segments) for v in everything.videos)
    )
    source = FeatureSource(folder / "features")
    split = prepare_split(silent.of_subset("train"), silent.of_subset("test"), source)
    assert split.train.videos[0].duration_s == everything.videos[0].duration_s


def test_features_of_other_cuts_of_the_videos_are_noticed(folder, caplog):
    everything = read_annotations(folder / "annotations.json")
    source = FeatureSource(folder / "features")
    prepare_split(everything.of_subset("train"), everything.of_subset("test"), source)
    assert not caplog.text
    longer = type(everything)(tuple(replace(v, duration_s=v.duration_s + 2) for v in everything.videos))
    prepare_split(longer.of_subset("train"), longer.of_subset("test"), source)
    assert "4 of the first 4 videos last longer or shorter than annotated" in caplog.text
    assert longer.of_subset("test").videos[0].video_id in caplog.text


def test_a_random_split_is_disjoint_and_repeatable(folder):
    everything = read_annotations(folder / "annotations.json")
    train, held_out = split_at_random(everything, 0.25, seed=1)
    assert (len(train), len(held_out)) == (9, 3) and not set(train.by_id) & set(held_out.by_id)
    assert split_at_random(everything, 0.25, seed=1)[1].by_id.keys() == held_out.by_id.keys()
    assert split_at_random(everything, 0.25, seed=2)[1].by_id.keys() != held_out.by_id.keys()
    with pytest.raises(ValueError, match="leaves a part empty"):
        split_at_random(everything, 0.01)


def test_tracks_of_two_encoders_are_refused(tmp_path):
    made = make_videos(tmp_path)
    other = EncoderRecord("other", "weights-ffffffffffffffff", "0", "float32")
    track = FeatureTrack.from_rows(
        np.ones((40, DIM)), video_id="v09", encoder=other, fps=25.0, snippet_frames=8, stride_frames=8
    )
    write_track(track, made / "features" / "v09.npz")
    with pytest.raises(ValueError, match="v09 differ in"):
        load_task(parse(made, "actionness"))


@pytest.mark.parametrize(
    ("localizer", "fields", "message"),
    [
        ("tan", {"hidden_dims": 8}, "--config: TANConfig has no field hidden_dims"),
        ("gtad", {"hidden_dim": 0}, "--config: hidden_dim=0"),
        ("actionness", {"feature_dim": 7}, "--config: feature_dim=7, and the features are 8 wide"),
        ("lgi", {"num_rows": "many"}, "--config: Field 'num_rows' expected int, got str"),
        ("actionness", {"segment_s": -1}, "--config: segment_s=-1 must be positive"),
    ],
)
def test_config_fields_that_are_wrong_are_named(folder, localizer, fields, message):
    with pytest.raises(ValueError, match=message):
        load_task(parse(folder, localizer, config=fields))


@pytest.mark.parametrize(
    ("localizer", "more", "message"),
    [
        ("gtad", ["--preset", "charades"], "preset 'charades' is unknown"),
        ("lgi", ["--eval_subset", "val"], "subset 'val'"),
        ("actionness", ["--features", "nowhere"], "no features at nowhere"),
        ("gtad", ["--durations", "lost.csv"], "lost.csv"),
        ("actionness", ["--tasks", "lost.txt"], "lost.txt"),
        ("lgi", ["--plateau_factor", "0.5"], "lgi does not compute; use --decay_epochs"),
    ],
)
def test_what_does_not_fit_together_is_said(folder, localizer, more, message):
    with pytest.raises((OSError, ValueError), match=message):
        load_task(parse(folder, localizer, *more))


def test_queries_need_word_vectors_or_a_text_encoder(folder):
    settings = parse(folder, "tan")
    settings.word_vectors = None
    with pytest.raises(ValueError, match="--word_vectors"):
        load_task(settings)


def test_features_are_scaled_for_training_as_the_config_says(folder):
    tiny = TINY["tan"] | {"normalize_features": False}
    task = load_task(parse(folder, "tan", config=tiny))
    _, sample = task.train_samples[0]
    features = task.features.read(task.train_samples.items[0].video.video_id).features
    np.testing.assert_array_equal(sample.features, average_rows(features, 16, normalize=False))
    _, sample = load_task(parse(folder, "tan")).train_samples[0]
    np.testing.assert_array_equal(sample.features, average_rows(features, 16, normalize=True))


@pytest.mark.parametrize("localizer", ["gtad", "tan"])
@pytest.mark.parametrize("video", ["v03", "v10"])
def test_rows_that_are_not_finite_are_refused_and_the_video_named(localizer, video, tmp_path):
    made = make_videos(tmp_path)
    track = read_track(made / "features" / f"{video}.npz")
    track.features[5] = np.nan
    write_track(track, made / "features" / f"{video}.npz")
    with pytest.raises(ValueError, match=rf"1 of \d+ feature rows of {video} are not finite, first row 5"):
        load_task(parse(made, localizer))


@pytest.mark.parametrize("localizer", ["gtad", "actionness"])
@pytest.mark.parametrize(("subset", "part"), [("test", "evaluate"), ("train", "train")])
def test_videos_without_a_segment_are_refused_before_the_training(localizer, subset, part, folder, tmp_path):
    content = json.loads((folder / "annotations.json").read_text())
    for video in content.values():
        if video["subset"] == subset:
            video["segments"] = []
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    settings = replace(parse(folder, localizer), annotations=tmp_path / "annotations.json")
    with pytest.raises(ValueError, match=rf"videos to {part} on have no segment|no videos to {part} on"):
        load_task(settings)


def test_segments_of_no_length_count_in_training_as_in_eval(folder, tmp_path, caplog):
    """The evaluator of ActivityNet counts every annotated row; nothing can be trained on such a one."""
    database = {}
    for video, record in json.loads((folder / "annotations.json").read_text()).items():
        rows = [{"segment": [s["start"], s["end"]], "label": s["label"]} for s in record["segments"]]
        rows += [{"segment": [3.0, 3.0], "label": "jump"}, {"segment": [5.0, 4.0], "label": "run"}]
        rows += [{"segment": [1.0, 2.0], "label": "Ambiguous"}]
        if record["subset"] == "train":  # left out of the training, and none of the evaluation's business
            rows += [{"segment": [None, 2.0], "label": "jump"}]
        database[video] = {"subset": record["subset"], "duration": record["duration"], "annotations": rows}
    path = tmp_path / "activitynet.json"
    path.write_text(json.dumps({"database": database}))
    more = ["--annotations", path, "--class_scores", folder / "class_scores.json"]
    task = load_task(parse(folder, "gtad", *more))
    assert "activitynet.json, line 1: video v00: the segment from 3 to 3 does not end after" in caplog.text
    assert task.coverage == "4 of 4 videos, 16 segments"
    decoded = {}
    for index, item in enumerate(task.eval_samples.items):
        segments = np.array([[s.start_s, s.end_s] for s in item.video.segments])
        kinds = np.array([CLASSES.index(s.label) for s in item.video.segments])
        decoded[index] = Detections(segments, np.ones(len(kinds)), kinds)
    (written,) = task.write_results(decoded, tmp_path)
    report = evaluate_files(written, path, "detection", EvaluationOptions(subset="test"))
    assert task.score(decoded) == report.metrics and report.metrics["average_map"] < 0.8
    database["v09"]["annotations"].append({"segment": [None, 2.0], "label": "jump"})
    path.write_text(json.dumps({"database": database}))
    with pytest.raises(ValueError, match=r"activitynet\.json: Video 'v09' has the entry"):
        _ = load_task(parse(folder, "gtad", *more)).coverage


def test_a_score_states_the_videos_and_queries_or_segments_that_it_is_over(folder, tmp_path):
    assert load_task(parse(folder, "actionness")).coverage == "4 of 4 videos, 8 segments"
    task = load_task(parse(folder, "tan"))
    assert task.coverage == "4 of 4 videos, 8 of 8 queries"
    assert task.name_samples(torch.tensor([2])) == [f"v01 ({task.train_samples.items[2].query.sentence!r})"]
    assert load_task(parse(folder, "gtad")).name_samples([2, 0]) == ["v02", "v00"]


def test_a_run_is_described_by_its_samples_wherever_they_lie(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    described = load_task(parse(folder, "tan")).describe_run()
    assert load_task(parse(moved, "tan")).describe_run() == described
    content = json.loads((moved / "annotations.json").read_text().replace('"train"', '"test"', 1))
    (moved / "annotations.json").write_text(json.dumps(content))
    assert load_task(parse(moved, "tan")).describe_run() != described


def describe_tracks(folder, **tracks):
    grid = {"encoder": ENCODER, "fps": 25.0, "snippet_frames": 8, "stride_frames": 4}
    for name, fields in tracks.items():
        rows = np.zeros((3, fields.pop("width", 6)))
        write_track(FeatureTrack.from_rows(rows, video_id=name, **(grid | fields)), folder / f"{name}.npz")
    return FeatureCache(FeatureSource(folder)).describe(list(tracks))


def test_features_are_described_as_the_config_wants_them(tmp_path):
    config = ActionnessConfig(**describe_tracks(tmp_path / "same", a={}, b={}))
    assert (config.feature_dim, config.feature_fps, config.feature_stride_frames) == (6, 25, 4)
    assert EncoderRecord.from_dict(config.encoder) == ENCODER
    assert describe_tracks(tmp_path / "rates", a={}, b={"fps": 30.0})["feature_fps"] is None


@pytest.mark.parametrize(
    ("other", "match"),
    [
        ({"encoder": "i3d"}, "id, revision, settings_hash"),
        ({"stride_frames": 5}, "stride_frames"),
        ({"width": 8}, "width"),
    ],
)
def test_features_that_differ_are_not_described(other, match, tmp_path):
    with pytest.raises(ValueError, match=f"a and b differ in {match}"):
        describe_tracks(tmp_path, a={}, b=other)


def test_features_are_kept_only_while_there_is_room(folder):
    source = FeatureSource(folder / "features")
    size = source.read("v00").features.nbytes
    cache = FeatureCache(source, max_bytes=size)
    assert cache.read("v00") is cache.read("v00")
    assert cache.read("v01") is not cache.read("v01")


def test_class_scores_give_segments_their_names(folder):
    found = read_class_score_file(folder / "class_scores.json")
    assert found.names == CLASSES and found.scores["v00"].shape == (3,)
    task = load_task(parse(folder, "gtad", "--class_scores", folder / "class_scores.json"))
    assert task.config.id2label == dict(enumerate(CLASSES))


@pytest.mark.parametrize("localizer", ["tan", "lgi"])
def test_qvhighlights_picks_the_epoch_by_its_own_metric(folder, localizer, tmp_path, caplog):
    content = json.loads((folder / "annotations.json").read_text())
    for part in ("train", "test"):
        lines = []
        for video, record in content.items():
            windows = [[query["start"], query["end"]] for query in record["queries"]]
            if record["subset"] == part:
                line = {"qid": len(lines), "query": "a person does jump", "vid": video}
                lines.append({**line, "duration": record["duration"], "relevant_windows": windows})
        lines[0]["relevant_windows"] = [[500, 510]] if part == "test" else windows
        (tmp_path / f"{part}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = replace(
        parse(folder, localizer),
        **{"annotations": tmp_path / "train.jsonl", "eval_annotations": tmp_path / "test.jsonl"},
        **{"train_subset": None, "eval_subset": None},
    )
    task = load_task(settings)
    assert (task.metric, task.coverage) == ("mr_map", "4 of 4 videos, 4 of 4 queries")
    assert "1 queries to evaluate on have no moment inside their video" in caplog.text
    model, decoded = task.make_model().eval(), {}
    with torch.no_grad():
        batch = task.collate([task.eval_samples[index] for index in range(4)])
        indices = batch.pop("indices").tolist()
        output = model(**batch)
        decoded.update(task.decode(output, indices))
        assert all(np.isfinite(loss) for loss in task.evaluation_losses(output, batch, indices).values())
    if localizer == "tan":
        assert max(len(found.scores) for found in decoded.values()) > 5  # ten take part in mr_map
    (path,) = task.write_results(decoded, tmp_path)
    report = evaluate_files(path, tmp_path / "test.jsonl", "grounding")
    assert report.rule == "qvhighlights"
    scores = task.score(decoded)
    assert scores == {name: report.metrics[name] for name in scores} and {"mr_map", "mr_map_short"} <= set(
        scores
    )
    assert ("recall@5,0.5" in scores) == (localizer == "tan")
    perfect = {
        index: Detections(
            np.array(item.query.windows_s), np.ones(len(item.query.windows_s)), np.zeros(2, int)
        )
        for index, item in enumerate(task.eval_samples.items)
        if index
    }
    assert task.score(perfect)["mr_map"] == pytest.approx(0.75)


def test_moments_past_the_end_are_cut_for_2d_tan_and_kept_for_lgi(folder, tmp_path):
    """In every video one moment ends past the end and another starts there."""
    written = json.loads((folder / "annotations.json").read_text())
    for record in written.values():
        end_s, sentence = record["duration"], "a person does jump."
        record["queries"] = [
            {"start": end_s - 5, "end": end_s + 5, "sentence": sentence},
            {"start": end_s, "end": end_s + 5, "sentence": sentence},
        ]
    (tmp_path / "late.json").write_text(json.dumps(written))
    for localizer, num_items in (("tan", 4), ("lgi", 8)):
        task = load_task(parse(folder, localizer, "--annotations", tmp_path / "late.json"))
        items = task.eval_samples.items
        assert len(items) == num_items and len(task.train_samples) == 2 * num_items
        answers = {}
        for index, item in enumerate(items):
            segments = np.array([[item.duration_s - 5, item.duration_s]])
            answers[index] = Detections(segments, np.ones(1), np.zeros(1, dtype=np.int64))
        assert task.score(answers)["mean_iou"] == pytest.approx(1 if localizer == "tan" else 0.25)
        assert all(len(task.train_samples[index]) == 2 for index in range(len(task.train_samples)))
