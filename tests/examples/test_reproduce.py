"""`examples/reproduce.py`: plans, records, tables and scores, and both scales end to end on small videos."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reproduction import boundaries, concatenation, mini, paper, plots, scoring, signals
from reproduction.features import Components
from reproduction.plan import Plan, Records, RunLock, Step, read_json
from reproduction.report import (
    EXTRAS,
    RecordedStudy,
    describe_correlation,
    draw_tables,
    evidence_page,
    fill_table,
    format_cell,
)
from reproduction.scoring import Truth, paired_difference, rank_correlation
from reproduction.study import Cell
from reproduction.tables import CHAIN, TABLES
from support.made_videos import make_videos
from support.reproduction_data import make_mini_data, make_paper_data, save_image_network, write_texture

from bsp_hf.features import ExtractionSettings
from bsp_hf.localization.annotations.layouts import read_annotations
from bsp_hf.localization.result_files import (
    MomentPrediction,
    read_actionness,
    write_actionness,
    write_detections,
    write_moments,
)
from bsp_hf.localization.suppression import ABSENT, Detections
from bsp_hf.localization.training.settings import LocalizerTrainingSettings
from bsp_hf.pretraining.run.settings import PRESETS, FusedPretrainingSettings, PretrainingSettings
from bsp_hf.training.command_line import parse_settings

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "reproduce.py"


def settings_of(**values):
    from reproduce import ReproductionSettings

    return ReproductionSettings(**values)


@pytest.fixture
def study(tmp_path):
    values = {"table": ["1"], "data": tmp_path / "data", "init_from": "net", "output_dir": tmp_path / "out"}
    return mini.make_study(settings_of(**values), ("python",))


# Ranks by hand; equal numbers share the mean of their ranks.
@pytest.mark.parametrize(
    ("ours", "papers", "expected"),
    [
        ([0.1, 0.2, 0.3], [10, 20, 30], 1.0),
        ([0.3, 0.2, 0.1], [10, 20, 30], -1.0),
        ([1, 2, 3, 4], [2, 1, 4, 3], 0.6),  # 1 - 6 * 4 / (4 * 15)
        ([1, 2, 2, 3], [1, 2, 3, 4], 0.9486832980505138),  # 4.5 / sqrt(4.5 * 5)
    ],
)
def test_the_rank_correlation_is_spearmans(ours, papers, expected):
    assert rank_correlation(ours, papers) == pytest.approx(expected)


def test_the_rank_correlation_of_one_row_or_equal_rows_is_undefined():
    assert np.isnan(rank_correlation([1], [2])) and np.isnan(rank_correlation([1, 1], [2, 3]))
    with pytest.raises(ValueError, match="2 numbers"):
        rank_correlation([1, 2], [2])


def test_a_difference_is_that_of_the_same_drawn_videos():
    ours, theirs = np.array([0.9, 0.1, 0.5, 0.7]), np.array([0.8, 0.0, 0.4, 0.6])
    found = paired_difference([lambda d: ours[d].mean()], [lambda d: theirs[d].mean()], 4, 200)
    # Every video is better by 0.1, so that every draw is; unpaired draws would differ by much more.
    assert (found.difference, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.p == 1 / 200 and found.num_videos == 4 and found.num_seeds == 1
    same = paired_difference([lambda d: ours[d].mean()], [lambda d: ours[d].mean()], 4, 50)
    assert same.difference == 0 and same.p == 1.0
    mixed = paired_difference([lambda d: ours[d].mean()], [lambda d: ours[::-1][d].mean()], 4, 400)
    assert mixed.low < 0 < mixed.high and 0.2 < mixed.p < 0.8


def test_draws_without_anything_to_find_are_left_out():
    scores = np.array([1.0, np.nan])
    found = paired_difference([lambda d: scores[d].mean() if d.min() == d.max() == 0 else np.nan],
                              [lambda d: 0.0], 2, 100)  # fmt: skip
    assert (found.low, found.high) == (1, 1) and found.p > 1 / 100


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Annotations of videos, and result files of every localizer that are partly right."""
    folder = make_videos(tmp_path_factory.mktemp("scored"))
    truth = Truth(folder / "annotations.json", "test")
    rng = np.random.default_rng(0)
    detections, moments, actionness = {}, [], {}
    for video in truth.videos.videos:
        windows = np.array([[s.start_s, s.end_s] for s in video.segments])
        shaken = np.concatenate([windows + rng.normal(0, 0.4, windows.shape) for _ in range(4)])
        shaken = np.sort(np.clip(shaken, 0, video.duration_s), axis=1)
        detections[video.video_id] = Detections(
            shaken, rng.uniform(size=len(shaken)), np.full(len(shaken), ABSENT)
        )
        for query in video.queries:
            spans = np.array([[query.start_s, query.end_s]]) + rng.normal(0, 0.6, (5, 2))
            spans = np.sort(np.clip(spans, 0, video.duration_s), axis=1)
            scores = np.sort(rng.uniform(size=5))[::-1]
            moments.append(MomentPrediction(query.query_id, video.video_id, query.sentence, spans, scores))
        steps = truth.videos.step_annotations()[video.video_id]
        actionness[video.video_id] = rng.uniform(size=int(np.ceil(steps.duration_s / 0.2 - 1e-9)))
    write_detections(folder / "results.json", detections, None, "VERSION 1.3", "action")
    write_moments(folder / "predictions.jsonl", moments)
    write_actionness(folder / "actionness.csv", actionness)
    return folder, truth


@pytest.mark.parametrize("localizer", scoring.RESULT_FILES)
def test_all_videos_drawn_once_score_as_the_official_protocol_does(made, localizer):
    folder, truth = made
    metric = scoring.RESULT_FILES[localizer][3]
    reported = scoring.score(localizer, folder, truth, only_predicted=False)
    videos = scoring.predicted_videos(localizer, folder, truth)
    score_drawn = scoring.score_of_draws(localizer, folder, truth, videos)
    assert reported["num_videos"] == len(videos) == 4
    assert score_drawn(np.arange(4)) == pytest.approx(reported["metrics"][metric])
    assert 0 < reported["metrics"][metric] < 1
    # A video that is drawn twice counts twice.
    assert score_drawn(np.array([0, 0, 1])) != pytest.approx(score_drawn(np.array([0, 1])))
    assert score_drawn(np.array([1, 2, 1, 2])) == pytest.approx(score_drawn(np.array([1, 2])), abs=0.05)


def test_videos_without_predictions_need_no_duration(made, tmp_path):
    folder, whole = made
    content = read_json(folder / "annotations.json")
    durations = {name: video.pop("duration") for name, video in content.items()}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    known = [video.video_id for video in whole.videos.videos][:3]
    lines = ["id,length", *(f"{name},{durations[name]}" for name in known)]
    (tmp_path / "durations.csv").write_text("\n".join(lines) + "\n")
    found = {
        name: values for name, values in read_actionness(folder / "actionness.csv").items() if name in known
    }
    write_actionness(tmp_path / "actionness.csv", found)
    truth = Truth(tmp_path / "annotations.json", durations=tmp_path / "durations.csv")
    videos = scoring.predicted_videos("actionness", tmp_path, truth)
    reported = scoring.score("actionness", tmp_path, truth, only_predicted=True)
    score_drawn = scoring.score_of_draws("actionness", tmp_path, truth, videos)
    assert videos == known and reported["num_videos"] == 3
    assert score_drawn(np.arange(3)) == pytest.approx(reported["metrics"]["pooled_ap"])


def test_classes_that_no_drawn_video_shows_are_left_out(made, tmp_path):
    _, truth = made
    labels = truth.videos.labels
    detections = {}
    for video in truth.videos.videos:
        windows = np.array([[s.start_s, s.end_s] for s in video.segments] + [[0.0, 1.0]])
        absent = next(label for label in labels if label not in {s.label for s in video.segments})
        names = [*(s.label for s in video.segments), absent]
        kinds = np.array([labels.index(name) for name in names])
        detections[video.video_id] = Detections(windows, np.array([0.9, 0.8, 0.3]), kinds)
    write_detections(tmp_path / "results.json", detections, labels, "VERSION 1.3", "action")
    videos = scoring.predicted_videos("gtad", tmp_path, truth)
    score_drawn = scoring.score_of_draws("gtad", tmp_path, truth, videos)
    assert score_drawn(np.array([0])) == 1.0  # the third class is predicted, and in this video nowhere true
    assert score_drawn(np.arange(4)) == pytest.approx(
        scoring.score("gtad", tmp_path, truth, only_predicted=False)["metrics"]["average_map"]
    )


def counting_plan(done, fails_at=None):
    plan = Plan()
    for number in range(4):

        def make(number=number):
            if number == fails_at:
                raise RuntimeError("stopped")
            done.append(number)
            return {"number": number}

        plan.add(Step(f"kind/step-{number}", ("do", f"/tmp/place/{number}"), make))
    return plan


def test_a_run_that_was_stopped_goes_on_and_repeats_no_step(tmp_path):
    records, done = Records(tmp_path / "records", {"OUTPUT": "/tmp/place"}), []
    with pytest.raises(RuntimeError, match="stopped"):
        counting_plan(done, fails_at=2).run(records, tmp_path)
    assert done == [0, 1] and list(records) == ["kind/step-0", "kind/step-1"]
    assert counting_plan(done).run(records, tmp_path) == 2
    assert done == [0, 1, 2, 3]
    assert counting_plan(done).run(records, tmp_path) == 0
    record = records.read("kind/step-3")
    assert record["command"] == "do $OUTPUT/3" and record["result"] == {"number": 3}
    assert record["hardware"]["processor"] and record["versions"]["torch"]


def test_a_record_of_other_settings_is_refused_before_anything_is_done(tmp_path):
    records, done = Records(tmp_path / "records"), []
    other = Plan()
    other.add(Step("kind/step-3", ("do", "otherwise"), dict))
    other.run(records, tmp_path)
    with pytest.raises(
        ValueError, match=r"step-3.json was made with other settings: do otherwise; now asked"
    ):
        counting_plan(done).run(records, tmp_path)
    assert not done


def test_what_launches_a_script_and_where_folders_lie_is_no_part_of_a_record(tmp_path):
    records = Records(tmp_path, {"OUTPUT": "/a/b", "DATA": "/a/b/data"})
    launched = ("accelerate", "launch", "--multi_gpu", "examples/pretrain.py", "--output_dir", "/a/b/x y")
    assert records.neutral(launched) == "examples/pretrain.py --output_dir '$OUTPUT/x y'"
    assert (
        records.neutral(("python", "examples/pretrain.py", "/a/b/data/c")) == "examples/pretrain.py $DATA/c"
    )


def test_steps_of_one_name_and_two_commands_are_refused():
    plan = Plan()
    plan.add(Step("a/b", ("one",), dict))
    plan.add(Step("a/b", ("one",), dict))
    assert len(plan.steps) == 1
    with pytest.raises(ValueError, match="two steps have the name a/b"):
        plan.add(Step("a/b", ("two",), dict))


def test_a_run_beside_a_command_of_an_earlier_one_is_refused(tmp_path):
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with RunLock(tmp_path) as lock:
            lock.note(sleeper.pid)
            left = (tmp_path / "running.json").read_bytes()
        (tmp_path / "running.json").write_bytes(left)  # as if the run had been killed
        with pytest.raises(RuntimeError, match=f"process {sleeper.pid} of an earlier run"):
            counting_plan([]).run(Records(tmp_path / "records"), tmp_path)
    finally:
        sleeper.kill()
        sleeper.wait()
    assert counting_plan([]).run(Records(tmp_path / "records"), tmp_path) == 4
    assert not (tmp_path / "running.json").exists()


def record_scores(study, records, table, values):
    """Record made-up scores of every localizer and seed of a table: that of a row, a little more by seed."""
    for view in study.views:
        for row in study.rows(table):
            for localizer in table.localizers(row):
                for seed in study.seeds_of(row):
                    name = study.row_name(study.backbone(table, row), row.streams, seed)
                    metrics = {column.metric: values[row.method] + 0.01 * seed for column in table.columns}
                    result = {"metrics": metrics, "num_videos": 30}
                    step = Step(f"score/{view.name}/{localizer}/{name}", ("made", "up"), dict)
                    records.write(step, result, 1.0)


def test_a_table_has_means_ranges_seeds_videos_and_the_papers_numbers(study, tmp_path):
    table, records = TABLES["7"], Records(tmp_path / "records")
    values = {
        "baseline": 0.30,
        "Arrow": 0.32,
        "Speed": 0.31,
        "BSP (ours)": 0.40,
        "ensemble": 0.33,
        "random": 0.29,
    }
    record_scores(study, records, table, values)
    lines = fill_table(study, records, study.views[0], table).splitlines()
    assert lines[0].startswith("| Method | 0.5 | 0.75 | 0.95 | Average | seeds | videos | paper: 0.5 |")
    cell = "42.00 (40.00-44.00)"  # five seeds, for a claim rests on it
    assert (
        lines[5]
        == f"| BSP (ours) | {cell} | {cell} | {cell} | {cell} | 5 | 30 | 50.09 | 34.66 | 7.95 | 33.96 |"
    )
    cell = "33.00 (32.00-34.00)"
    assert lines[3] == f"| Arrow | {cell} | {cell} | {cell} | {cell} | 3 | 30 | 49.79 | 34.48 | 7.7 | 33.72 |"
    assert lines[7].endswith("| 5 | 30 | 49.8 | 34.27 | 8.38 | 33.74 |") or "ensemble" in lines[6]
    # Paper, Average: baseline 33.59, Arrow 33.72, ensemble 33.74, Speed 33.75, BSP 33.96. Means here in
    # percent: 32, 33, 35, 32, 42, so that baseline and Speed share a rank.
    expected = rank_correlation([32, 33, 32, 42, 35], [33.59, 33.72, 33.75, 33.96, 33.74])
    text = "\n".join(lines)
    assert f"Average {expected:.2f} (5 rows)" in text


def test_cells_that_were_not_measured_stay_empty(study, tmp_path):
    table = TABLES["3"]
    text = fill_table(study, Records(tmp_path / "none"), study.views[0], table)
    assert "| Linear clf. + BSP | - | - | - | 48.1 |" in text
    assert "| Zhukov et al. [84], HowTo100M, not supervised | - | - | - | 47.6 |" in text
    assert format_cell(None) == "-" and format_cell(Cell((0.5,))) == "50.00"
    rows = study.rows(TABLES["5"])
    assert describe_correlation(TABLES["5"], rows, {row.method: [None] * 4 for row in rows}) == ""


def test_tables_have_a_number_of_the_paper_in_every_column():
    for table in TABLES.values():
        methods = [row.method for row in table.rows]
        assert len(set(methods)) == len(methods), table.name
        for row in table.rows:
            assert len(row.paper) == len(table.columns), (table.name, row.method)
            assert not row.streams or table.localizers(row), row.method
    best = max(TABLES["5"].rows, key=lambda row: row.paper[3])
    assert best.method == "vanilla baseline" and TABLES["6"].rows[3].paper == (50.94, 35.61, 7.98, 34.75)


def test_a_table_of_claims_compares_only_rows_that_it_fills(study):
    found = [(comparison.text, name) for comparison, name in study.comparisons(TABLES["2"])]
    assert len(found) == 10 and {name for _, name in found} == {"tan", "lgi"}
    names = {study.comparison_name(study.views[0], TABLES["2"], comparison, name)
             for comparison, name in study.comparisons(TABLES["2"])}  # fmt: skip
    assert "compare/joined/tan/start/vanilla+boundary-text-over-vanilla+vanilla_2-5" in names


@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_every_command_of_every_table_is_one_that_its_script_understands(scale, tmp_path):
    from reproduce import make_plan, make_study

    data = tmp_path / "data"
    tables = [name for name in TABLES if scale == "mini" or name.isdigit()]
    more = list(EXTRAS) if scale == "mini" else []
    net = save_image_network(tmp_path / "net")
    settings = settings_of(
        table=tables + more, figure=["2", "4"], scale=scale, data=data, output_dir=tmp_path / "out",
        init_from=str(net), resnet18=str(net), resnet50=str(net), seeds=1, claim_seeds=1,
    )  # fmt: skip
    plan = make_plan(make_study(settings), settings)
    scripts = {
        "pretrain.py": (PretrainingSettings, {"presets": PRESETS}),
        "pretrain_fused.py": (FusedPretrainingSettings, {"presets": PRESETS}),
        "train_localizer.py": (LocalizerTrainingSettings, {}),
    }
    checked = dict.fromkeys(scripts, 0)
    for step in plan.steps.values():
        name = step.words[1].removeprefix("examples/")
        if name in scripts:
            kind, options = scripts[name]
            parsed = parse_settings(kind, list(step.words[2:]), **options)
            assert str(tmp_path / "out") in str(parsed.output_dir)
            checked[name] += 1
        elif name == "extract_features.py":
            options = {word for word in step.words if word.startswith("--")}
            known = {f"--{field}" for field in ExtractionSettings.__dataclass_fields__}
            assert options <= known | {"--videos", "--model", "--output"}
    assert all(checked.values())
    trained = [words for step in plan.steps.values() if (words := step.words)[1] == "examples/pretrain.py"]
    tasks = {after for words in trained for word, after in pairwise(words) if word == "--task"}
    assert tasks >= {"action", "boundary", "diff-class", "regression-diff-speed", "arrow-of-time", "speed"}
    # Streams are trained before they are used.
    seen = set()
    for step in plan.steps.values():
        folders = [word for word in step.words if word.startswith(str(tmp_path / "out"))]
        is_made = step.words[-2] in ("--output_dir", "--output", "--picture")
        if step.name.startswith(("reduce", "score", "extract")):
            inputs = [word for word in folders[:-1] if "features/" in word or "encoders/" in word]
            assert all(word in seen for word in inputs), step.words
        if is_made:
            seen.add(step.words[-1])


def test_everything_that_is_missing_is_listed_at_once_and_nothing_starts(tmp_path):
    (tmp_path / "kinetics400" / "train").mkdir(parents=True)
    missing = paper.missing_inputs(tmp_path, paper.needed_folders(TABLES.values()))
    text = "; ".join(missing)
    names = ("kinetics400/val", "activity_net.v1-3.min.json", "cuhk_val_simp_share.json", "charades/videos")
    names += ("charades_sta_test.txt", "glove.6B.300d.txt", "crosstask/annotations", "tasks_primary.txt")
    assert [name for name in names if name not in text] == []
    assert paper.needed_folders([TABLES["3"]]) == ["kinetics400", "crosstask"]
    found = mini.missing_inputs(settings_of(table=["2", "probes"], data=tmp_path))
    named = ("actions_mini/splits.csv", "untrimmed_sim", "untrimmed_real", "embeddings", "--init_from")
    assert len(found) == 5 and all(name in line for name, line in zip(named, found, strict=True))
    found = mini.missing_inputs(settings_of(table=["1"], kinds=["joined"], data=tmp_path, init_from="net"))
    assert len(found) == 1 and "splits.csv" in found[0]


def test_annotated_videos_that_are_all_absent_are_missing(tmp_path):
    data = make_paper_data(tmp_path)
    assert paper.missing_inputs(data, paper.FILES) == []
    for path in (data / "activitynet" / "videos").glob("*.mp4"):
        path.rename(path.with_name(path.name.removeprefix("v_")))
    (found,) = (
        set(paper.missing_inputs(data, paper.FILES)) - {""}
        if False
        else ["\n".join(paper.missing_inputs(data, paper.FILES))]
    )
    assert "none of the 4 videos of activity_net.v1-3.min.json (training), such as v_video0.mp4" in found
    assert "(validation)" in found and "charades" not in found


def test_the_videos_that_test_on_crosstask_are_a_quarter_of_those_that_are_there(tmp_path):
    folder = make_paper_data(tmp_path / "data") / "crosstask"
    (folder / "videos" / "step3.mp4").unlink()
    inputs = (folder / "annotations", folder / "tasks_primary.txt", folder / "videos")
    result = paper.hold_out(*inputs, tmp_path / "held-out.csv")
    assert result == {"num_videos": {"training": 5, "held_out": 2}}
    found = read_annotations(inputs[0], tasks=inputs[1], validation_videos=tmp_path / "held-out.csv")
    assert len(found.of_subset("validation")) == 2 and "step3" not in found.of_subset("validation").by_id


def test_cuts_are_found_without_a_network(tmp_path):
    cuts = (18, 41)
    path = write_texture(tmp_path / "v.mp4", 60, seed=3, cuts=cuts, most=1)
    expected_s = [(cut - 0.5) / 20 for cut in cuts]  # between the frames on both sides
    for name, curve in signals.frame_curves(path).items():
        times_s, _ = boundaries.find_peaks(curve)
        assert sorted(times_s[:2]) == pytest.approx(expected_s, abs=0.03), name


def test_transnet_answers_every_frame_by_the_middle_of_a_window(monkeypatch):
    class Brightness(torch.nn.Module):  # the logit of a frame is its red value, whatever its neighbours are
        def forward(self, frames):
            assert frames.shape[1:] == (signals.WINDOW, 27, 48, 3) and frames.dtype == torch.uint8
            return frames[..., 0, 0, :1].float() / 10, {}

    monkeypatch.setattr(signals, "_transnet", Brightness)
    values = np.arange(130, dtype=np.uint8)
    frames = np.broadcast_to(values[:, None, None, None], (130, 27, 48, 3))
    found = signals.transnet_probabilities(frames)
    assert found == pytest.approx(1 / (1 + np.exp(values / -10.0)), abs=1e-6)


def test_of_two_peaks_that_are_too_near_the_higher_stays():
    curve = signals.Curve(np.arange(8) / 10, np.array([0, 3, 0, 5, 0, 0, 0, 4.0]))
    times_s, heights = boundaries.find_peaks(curve, min_gap_s=0.35)
    assert times_s.tolist() == [0.3, 0.7] and heights.tolist() == [5, 4]


def test_thresholds_are_chosen_on_videos_that_do_not_test():
    videos = [
        boundaries.BoundaryVideo("train", Path("a"), (1.0,), is_training=True),
        boundaries.BoundaryVideo("test", Path("b"), (1.0, 3.0), is_training=False),
    ]
    # The best threshold of the training video, 0.9, finds one of two boundaries of the other.
    peaks = {
        "train": (np.array([1.0, 2.0]), np.array([0.9, 0.5])),
        "test": (np.array([1.1, 3.0]), np.array([0.95, 0.6])),
    }
    found = boundaries.boundary_scores(videos, peaks)
    assert found == {"f1": pytest.approx(2 / 3), "precision": 1.0, "recall": 0.5, "num_videos": 1}
    with pytest.raises(ValueError, match="one video alone"):
        boundaries.boundary_scores(videos[1:], peaks)


def test_components_of_wider_features_have_the_same_width_and_unit_variance():
    rng = np.random.default_rng(0)
    for dim in (12, 24):
        rows = rng.normal(size=(200, dim)) @ rng.normal(size=(dim, dim))
        found = Components(rows, 5)(rows).numpy()
        assert found.shape == (200, 5) and found.dtype == np.float32
        assert np.cov(found.T) == pytest.approx(np.eye(5), abs=0.02)


def test_joined_clips_change_where_they_are_said_to():
    clips = [np.full((20, 4, 4, 3), value, np.uint8) for value in (0, 200, 100)]
    frames, ends_s = concatenation.join_clips(clips, [0, 2])
    values = [int(frame[0, 0, 0]) for frame in frames]
    assert ends_s == [0.8, 1.6, 2.4] and values[18:22] == [0, 0, 200, 200]
    assert values[37:43] == [200, 188, 162, 138, 112, 100]  # shares 1/8, 3/8, 5/8, 7/8


def test_of_every_source_of_clips_some_classes_are_looked_for_and_others_not():
    targets = set(concatenation.choose_targets(concatenation.PHRASES))
    assert len(targets & {"Fight", "NoFight"}) == 1 and len(targets & {"Punch", "YoYo"}) == 1
    plain = set(concatenation.PHRASES) - {"Fight", "NoFight", "Punch", "YoYo", "PushUp"}
    assert len(targets & plain) == 5 and len(plain) == 10
    assert concatenation.choose_actions(["Walk", "YoYo", "Bend"]) == ["YoYo"]
    video = concatenation.describe_video(["Walk", "YoYo", "Walk"], [1, 2, 3.5], "test", ["Walk"])
    assert [(w["start"], w["end"]) for w in video["segments"]] == [(0, 1), (2, 3.5)]
    assert [w["sentence"] for w in video["queries"]] == ["a person plays with a yoyo"]


def test_the_page_of_evidence_without_records_holds_no_number_of_ours():
    page = evidence_page([], Path("nowhere"))
    assert page.count("No run is recorded yet.") == len(TABLES) + len(EXTRAS) + 1
    for name in (*TABLES, *EXTRAS):
        assert f"`--table {name}`" in page
    assert "paper: " not in page  # tables are shown once something is recorded


def test_recorded_tables_stand_on_the_page_of_evidence(study, tmp_path):
    from reproduce import make_extras

    records = Records(tmp_path / "records")
    table = TABLES["5"]
    record_scores(study, records, table, {row.method: (row.paper[3] or 0) / 100 for row in table.rows})
    extras = make_extras(study, settings_of(table=["1"], data=tmp_path))
    result = {"scores": dict.fromkeys(extras["probes"].questions, 0.25)}
    result["num_videos"] = dict.fromkeys(extras["probes"].questions, 7)
    records.write(Step("probe/start-imagenet-0", ("probe",), dict), result, 3600.0)
    result = {name: {"f1": 0.5, "num_videos": 6} for name in ("frame differences", "content")}
    result |= {name: {"f1": 0.75, "num_videos": 6} for name in ("colour histograms", "adaptive")}
    records.write(Step("boundaries/edited/without-network", ("find",), dict), result, 1.0)
    name = study.comparison_name(study.views[0], TABLES["1"], CHAIN[1], "gtad")
    result = {"difference": 0.0512, "low": 0.01, "high": 0.09, "p": 0.004}
    result |= {"num_videos": 30, "num_seeds": 3, "metric": "average_map"}
    records.write(Step(name, ("compare",), dict), result, 1.0)

    page = evidence_page([RecordedStudy(study, records, extras)], tmp_path / "none")
    assert f"| {CHAIN[1].text} | +5.12 (p 0.004) |" in page and f"| {CHAIN[0].text} | - |" in page
    # Tables share their encoders: only 2, 3, 6 and the other comparison of presets have no row.
    assert page.count("No run is recorded yet.") == 4
    assert "| S cls | 30.97 (29.97-31.97) |" in page
    # The paper's own averages, but for the seeds: the same order in both kinds of videos.
    assert page.count("Average 1.00 (9 rows)") == 2
    assert "Encoders: the network of --init_from." in page
    assert f"| ImageNet |{' 25.00 |' * 6} 1 | 7, 7, 7, 7, 7, 7 |" in page
    assert "| frame differences | - | - | - | 50.00 | 1 | -, -, -, 6 |" in page
    assert "probe 60 min" in page and "run on cpu" in page
    assert "![Table 5, a dot for each seed](images/evidence_mini_5.png)" in page

    draw_tables([RecordedStudy(study, records, extras)], tmp_path / "images")
    # As above.
    drawn = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert drawn == [f"evidence_mini_{name}.png" for name in ("1", "4", "5", "7", "presets")]
    assert all(Image.open(tmp_path / "images" / name).size[0] > 300 for name in drawn)


def test_the_title_of_a_narrow_picture_is_not_cut_off(tmp_path):
    panel = plots.Panel("gtad, joined", {"G-TAD": Cell((0.1, 0.2))})
    plots.draw_dots([panel], "Temporal action localization " * 3, tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    assert pixels.min() < 100 and pixels[:, [0, -1]].min() == 255


@pytest.mark.slow  # so that a new record is found, but does not fail every other change
def test_the_page_of_evidence_is_what_the_command_writes(tmp_path):
    root = EXAMPLE.parents[1]
    run(tmp_path / "out", "--report", tmp_path / "page.md", "--results", root / "results")
    written = (root / "docs" / "evidence.md").read_text(encoding="utf-8")
    wanted = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert written == wanted, "old; run: python examples/reproduce.py --report docs/evidence.md"


TOY_PRETRAINING = "--batch_size 4 --short_side 32 --crop_size 32 --cpu --num_workers 0 --max_grad_norm 5"


def run(output, *words, code=0, kill_after=None):
    """Run the command; with `kill_after`, kill it and what it started when so many records are there."""
    command = [sys.executable, str(EXAMPLE), "--output_dir", str(output), *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    if kill_after is not None:
        while process.poll() is None and len(list(Records(output / "records"))) < kill_after:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    said = process.communicate(timeout=1500)[0]
    assert process.returncode == (-signal.SIGKILL if kill_after is not None else code), said[-4000:]
    return said


def cells_of(table, row):
    """The cells of a row of the Markdown table of a text."""
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {row} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.slow
def test_the_miniature_runs_end_to_end_and_goes_on_where_it_was_killed(tmp_path):
    data, net = make_mini_data(tmp_path / "data"), save_image_network(tmp_path / "net")
    words = [
        *("--table", "3", "probes", "boundaries", "--figure", "2", "4", "--data", data, "--init_from", net),
        *("--kinds", "joined", "--seeds", 1, "--claim_seeds", 1, "--num_videos", 9, "--num_draws", 20),
        *("--max_steps", 2, "--width", 8, "--localizer", "--epochs 3 --eval_every 3 --batch_size 2 --cpu"),
        *("--pretraining", f"{TOY_PRETRAINING} --shift_blocks 0 1 --frozen_blocks 0"),
    ]
    output = tmp_path / "out"
    run(output, *words, kill_after=4)
    records = Records(output / "records")
    before = {name: records.path(name).stat().st_mtime_ns for name in records}
    assert 4 <= len(before) < 12 and not (output / "tables.md").exists()

    said = run(output, *words)
    assert f"{len(before)} of them recorded" in said
    assert {name: records.path(name).stat().st_mtime_ns for name in before} == before
    table = (output / "tables.md").read_text()
    assert table.strip() in said
    for row in ("Linear clf.", "Linear clf. + BSP", "Linear clf., random", "Linear clf., two vanillas"):
        value, seeds, videos = cells_of(table, row)[1:4]
        assert 0 < float(value) <= 100 and (seeds, videos) == ("1", "3"), row
    claims = [line for line in table.splitlines() if " above " in line]
    assert len([line for line in claims if "| actionness | pooled_ap |" in line]) == 5
    assert len([line for line in claims if "| cycle ends |" in line]) == 5 and len(claims) == 20
    probed = cells_of(table, "vanilla + BSP")
    assert len(probed) == 6 and probed[-2:] == ["1", "3, 3, 2"]
    assert all(0 <= float(cell) <= 100 for cell in probed[1:3])
    found = cells_of(table, "content")
    assert len(found) == 6 and found[-1] == "3, 2, 2"
    assert float(cells_of(table, "content")[3]) >= 80  # the made edited videos have clear cuts
    assert float(cells_of(table, "BSP, boundary response")[1]) >= 0
    assert {path.name for path in (output / "figures").iterdir()} == {"figure2.png", "figure4-joined.png"}
    # Records are for others' eyes too.
    text = "".join(records.path(name).read_text() for name in records)
    assert str(tmp_path) not in text and "$DATA/actions_mini" in text and "$OUTPUT/encoders" in text

    assert "0 steps" not in said and "Linear clf. + BSP" in run(output, *words)  # nothing is done again
    other = run(output, *words, "--max_steps", 3, code=2)
    assert "was made with other settings" in other

    # The page of evidence has these numbers and no others.
    (tmp_path / "results").mkdir()
    (output / "records").rename(tmp_path / "results" / "mini")
    page = tmp_path / "evidence.md"
    run(output, "--report", page, "--results", tmp_path / "results")
    shown = page.read_text()
    assert cells_of(shown, "Linear clf. + BSP") == cells_of(table, "Linear clf. + BSP")
    assert cells_of(shown, "content") == found and "BSP AUC 0." in shown
    assert "No run is recorded yet." in shown.split("## Table 4")[1].split("## Table 5")[0]


@pytest.mark.slow
def test_the_papers_scale_runs_on_stand_ins_of_its_data(tmp_path):
    data, net = make_paper_data(tmp_path / "data"), save_image_network(tmp_path / "net")
    words = [
        *("--scale", "paper", "--table", "1", "2", "3", "--figure", "2", "--data", data),
        *("--resnet50", net, "--max_steps", 2, "--num_draws", 20, "--pretraining", TOY_PRETRAINING),
        *("--localizer", "--epochs 1 --batch_size 2 --cpu"),
    ]
    shown = run(tmp_path / "out", *words, "--dry_run")
    assert shown.count("examples/pretrain.py") == 2 and not (tmp_path / "out").exists()
    annotations = data / "activitynet" / "activity_net.v1-3.min.json"
    annotations.rename(data / "aside.json")
    refused = run(tmp_path / "out", *words, code=2)
    assert "activity_net.v1-3.min.json: annotations of ActivityNet-1.3" in refused
    assert not (tmp_path / "out").exists()
    (data / "aside.json").rename(annotations)

    run(tmp_path / "out", *words)
    table = (tmp_path / "out" / "tables.md").read_text()
    for row, videos in (
        ("G-TAD*+BSP (Ours)", "3"),
        ("2D-TAN*+BSP", "3"),
        ("LGI*", "3"),
        ("Linear clf.", "2"),
    ):
        cells = cells_of(table, row)
        paper_row = next(r for t in TABLES.values() for r in t.rows if r.method == row)
        width = len(paper_row.paper)
        assert all(0 <= float(cell) <= 100 for cell in cells[1 : 1 + width]), cells
        assert cells[1 + width : 3 + width] == ["1", videos]
        assert cells[3 + width :] == ["-" if x is None else f"{x:g}" for x in paper_row.paper]
    # 3 of the 4 annotated validation videos are there.
    record = Records(tmp_path / "out" / "records").result("score/activitynet/gtad/r50-vanilla-0")
    assert record["coverage"] == "scored on 3 of 4 videos"
