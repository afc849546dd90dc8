"""Every localizer, end to end, on real clips concatenated into long videos.

    python benchmarks/localize_concatenated_clips.py --video_dir clips/ --metadata clips/splits.csv \
        --encoder runs/boundary --word_vectors glove.npz --output_dir runs/localize

Clips of the training split make training videos and clips of the test split test videos, so that no person,
camera or scene is in both. A video shows 5 to 7 clips. Actions, which G-TAD and the actionness classifier
look for, are the classes of --actions, one of them a video; the others are background. Every clip whose
class comes once is queried by a sentence. Prints a Markdown table of metrics beside what is reached without
a localizer, and draws predicted against true segments of the first test video. Localizers are small, to
train in minutes on a CPU; the best of four epochs is chosen on the test videos, as the published code does,
which flatters.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import example_modules  # noqa: F401  finds examples/reproduction
import numpy as np
import torch
from reproduction.concatenation import ACTIONS, FPS, LONGEST_S, describe_video, plan_video, read_clip
from reproduction.mini import CONFIGS, LOCALIZER_TRAINING
from transformers import AutoFeatureExtractor, AutoModel

from bsp_hf.features import FeatureSource, write_track
from bsp_hf.features.engine.engine import ExtractionEngine
from bsp_hf.localization.annotations.layouts import read_annotations
from bsp_hf.localization.evaluation import detection_scores
from bsp_hf.localization.gtad.video_classes import ClassScoreFile, write_class_score_file
from bsp_hf.localization.result_files import read_actionness, read_moments
from bsp_hf.localization.suppression import Detections
from bsp_hf.metrics import evaluate_grounding
from bsp_hf.pretraining.rendering.files import write_h264_video
from bsp_hf.pretraining.sources import scan_video_folder, split_sources
from bsp_hf.visualization import SegmentRow, plot_segments


def plan_videos(args):
    """Return `{subset: {video: its clips}}`; videos that are already there must be of this plan."""
    sources = scan_video_folder(args.video_dir, args.metadata)
    parts = zip(("train", "test"), split_sources(sources, 0.3, args.seed), strict=True)
    counts = {"train": args.num_train, "test": args.num_test}
    rng = np.random.default_rng(args.seed)
    plan = {
        subset: {f"{subset}_{k:03d}": plan_video(part, args.actions, rng) for k in range(counts[subset])}
        for subset, part in parts
    }
    path = args.output_dir / "plan.json"
    names = {
        subset: {v: [c.path.name for c in clips] for v, clips in p.items()} for subset, p in plan.items()
    }
    if path.is_file() and json.loads(path.read_text()) != names:
        sys.exit(f"{args.output_dir} holds videos of other clips. Choose another --output_dir.")
    (args.output_dir / "videos").mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(names))
    return plan


def make_videos(args):
    """Write the long videos and their annotations."""
    database = {}
    for subset, plan in plan_videos(args).items():
        for video_id, clips in plan.items():
            path = args.output_dir / "videos" / f"{video_id}.mp4"
            frames = [read_clip(clip.path, LONGEST_S) for clip in clips]
            if not path.is_file():
                write_h264_video(path, (image for clip in frames for image in clip), fps=FPS)
            ends_s = np.cumsum([len(clip) for clip in frames]) / FPS
            labels = [clip.label for clip in clips]
            database[video_id] = describe_video(labels, ends_s.tolist(), subset, args.actions)
    path = args.output_dir / "annotations.json"
    path.write_text(json.dumps(database, indent=1))
    return read_annotations(path)


def extract_features(args, annotations):
    """Write the tracks of all videos by every encoder and return their folders."""
    folders = []
    for number, encoder in enumerate(args.encoder):
        folder = args.output_dir / f"features_{number}"
        source = AutoFeatureExtractor.from_pretrained(encoder)
        engine = ExtractionEngine(AutoModel.from_pretrained(encoder).eval(), source, dtype="float32")
        for video in annotations.videos:
            path = folder / f"{video.video_id}.npz"
            if not path.is_file():
                name = args.output_dir / "videos" / f"{video.video_id}.mp4"
                write_track(engine.extract(name, video_id=video.video_id), path)
        folders.append(folder)
    return folders


def row_labels(video, centers_s, actions):
    """Return the action at each row, `len(actions)` where there is none."""
    labels = np.full(len(centers_s), len(actions))
    for segment in video.segments:
        labels[(centers_s >= segment.start_s) & (centers_s < segment.end_s)] = actions.index(segment.label)
    return labels


def classify_videos(source, annotations, actions, path):
    """Train a linear classifier of rows on the training part; what it finds on average is a video's score."""
    rows, labels, is_train = {}, [], []
    for video in annotations.videos:
        found = source.read(video.video_id)
        rows[video.video_id] = torch.tensor(found.features)
        labels.append(torch.tensor(row_labels(video, found.centers_s, actions)))
        is_train.append(video.subset == "train")
    train_rows = torch.cat([part for part, train in zip(rows.values(), is_train, strict=True) if train])
    train_labels = torch.cat([part for part, train in zip(labels, is_train, strict=True) if train])
    mean, scale = train_rows.mean(0), train_rows.std(0) + 1e-6
    layer = torch.nn.Linear(train_rows.shape[1], len(actions) + 1)
    optimizer = torch.optim.AdamW(layer.parameters(), 1e-2, weight_decay=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer((train_rows - mean) / scale), train_labels).backward()
        optimizer.step()
    scores = {}
    for video_id, part in rows.items():
        share = layer((part - mean) / scale).softmax(1)[:, : len(actions)].mean(0).detach().double()
        scores[video_id] = (share / share.sum()).numpy()
    tested = [video for video in annotations.videos if video.subset != "train"]
    right = [actions[scores[v.video_id].argmax()] == v.segments[0].label for v in tested]
    found = ClassScoreFile(tuple(actions), scores)
    write_class_score_file(path, found)
    return found, float(np.mean(right))


def without_localizer(annotations, classes, rng):
    """Return what random segments, the average moment and a constant score reach on the test videos."""
    test, train = annotations.of_subset("test"), annotations.of_subset("train")
    lengths_s = [s.end_s - s.start_s for video in train.videos for s in video.segments]
    found = {}
    for video in test.videos:
        length_s = rng.choice(lengths_s, 100)
        start_s = rng.uniform(0, np.maximum(video.duration_s - length_s, 0.01))
        kind = int(classes.scores[video.video_id].argmax())
        windows = np.stack([start_s, np.minimum(start_s + length_s, video.duration_s)], axis=1)
        found[video.video_id] = Detections(windows, rng.uniform(size=100), np.full(100, kind))
    queries = [(video, query) for video in train.videos for query in video.queries]
    average = np.mean([[q.start_s / v.duration_s, q.end_s / v.duration_s] for v, q in queries], axis=0)
    asked = [(video, query) for video in test.videos for query in video.queries]
    recalls = {}
    for name, spans in (("average", [average[None]] * len(asked)), ("random", None)):
        if spans is None:
            moments = [(q.end_s - q.start_s) / v.duration_s for v, q in queries]
            starts, widths = rng.uniform(size=(len(asked), 5, 1)), rng.choice(moments, (len(asked), 5, 1))
            starts = starts * (1 - widths)
            spans = list(np.concatenate([starts, starts + widths], axis=2))
        spans_s = [span * video.duration_s for span, (video, _) in zip(spans, asked, strict=True)]
        recalls[name] = evaluate_grounding(spans_s, [[q.start_s, q.end_s] for _, q in asked])
    total_s = sum(video.duration_s for video in test.videos)
    positive_s = sum(s.end_s - s.start_s for video in test.videos for s in video.segments)
    return detection_scores(test, found, classes.names), recalls, positive_s / total_s


def train_localizer(name, args, folders, extra):
    script = Path(__file__).resolve().parents[1] / "examples" / "train_localizer.py"
    output = args.output_dir / name
    command = [
        *(sys.executable, str(script), "--localizer", name, "--output_dir", str(output), "--cpu"),
        *(
            "--annotations",
            str(args.output_dir / "annotations.json"),
            "--eval_every",
            "5",
            "--save_every",
            "20",
        ),
        *("--train_subset", "train", "--eval_subset", "test", "--features", *map(str, folders)),
        *("--config", json.dumps(CONFIGS[name]), "--seed", str(args.seed), *LOCALIZER_TRAINING[name], *extra),
    ]
    subprocess.run(command, check=True)
    return json.loads((output / "training_record.json").read_text())["results"]


def draw_video(args, annotations, names):
    """Draw the first test video."""
    video = annotations.of_subset("test").videos[0]
    rows = [SegmentRow("true actions", [[s.start_s, s.end_s] for s in video.segments],
                       [s.label for s in video.segments])]  # fmt: skip
    if "gtad" in names:
        results = json.loads((args.output_dir / "gtad" / "results.json").read_text())["results"]
        best = sorted(results[video.video_id], key=lambda entry: -entry["score"])[:5]
        top = max(best[0]["score"], 1e-9)
        rows.append(SegmentRow("G-TAD, best 5", [entry["segment"] for entry in best],
                               [entry["label"] for entry in best],
                               [entry["score"] / top for entry in best]))  # fmt: skip
    sentences = [query.sentence.removeprefix("a person ") for query in video.queries]
    rows.append(SegmentRow("true moments", [[q.start_s, q.end_s] for q in video.queries], sentences))
    for name in [name for name in ("tan", "lgi") if name in names]:
        moments = read_moments(args.output_dir / name / "predictions.jsonl")
        for number, query in enumerate(video.queries):
            window = moments[video.video_id, query.query_id].windows_s[:1]
            label = {"tan": "2D-TAN", "lgi": "LGI"}[name]
            rows.append(SegmentRow(label if number == 0 else " " * (number + len(rows)), window,
                                   [sentences[number]]))  # fmt: skip
    scores = read_actionness(args.output_dir / "actionness" / "actionness.csv")[video.video_id]
    times_s = (np.arange(len(scores)) + 0.5) * 0.2
    title = "A test video of concatenated clips: predicted and true segments"
    figure = plot_segments(rows, video.duration_s, times_s, scores, title=title)
    figure.savefig(args.output_dir / "segments.png")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video_dir", type=Path, required=True)
    parser.add_argument("--metadata", type=Path)
    parser.add_argument("--encoder", nargs="+", required=True, help="folders; several are joined")
    parser.add_argument("--word_vectors", required=True)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--actions", nargs="+", default=list(ACTIONS))
    parser.add_argument(
        "--localizers", nargs="+", default=list(LOCALIZER_TRAINING), choices=tuple(LOCALIZER_TRAINING)
    )
    parser.add_argument("--num_train", type=int, default=60)
    parser.add_argument("--num_test", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    annotations = make_videos(args)
    folders = extract_features(args, annotations)
    scores_path = args.output_dir / "class_scores.json"
    classes, accuracy = classify_videos(FeatureSource(folders), annotations, args.actions, scores_path)
    extra = {"gtad": ["--class_scores", str(scores_path)], "tan": ["--word_vectors", args.word_vectors],
             "lgi": ["--word_vectors", args.word_vectors], "actionness": []}  # fmt: skip
    results = {name: train_localizer(name, args, folders, extra[name]) for name in args.localizers}
    chance, recalls, positive = without_localizer(annotations, classes, np.random.default_rng(args.seed))

    test = annotations.of_subset("test")
    print(f"{len(test)} test videos, {test.num_segments} actions, {test.num_queries} queries; "
          f"classifier of whole videos: accuracy {accuracy:.3f}\n")  # fmt: skip
    print("| localizer | metric | test | without a localizer |\n| --- | --- | --- | --- |")
    for name, found in results.items():
        for metric, value in found.items():
            base = {"gtad": chance.get(metric), "actionness": positive if "ap" in metric else None}.get(name)
            text = "" if base is None else f"{base:.3f}"
            if metric.startswith("recall@"):
                rank, threshold = metric.removeprefix("recall@").split(",")
                values = {key: recalls[key].recall_at(int(rank), float(threshold)) for key in recalls}
                text = f"random {values['random']:.3f}, average moment {values['average']:.3f}"
            print(f"| {name} | {metric} | {value:.3f} | {text} |")
    with (args.output_dir / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows((name, *item) for name, found in results.items() for item in found.items())
    draw_video(args, annotations, args.localizers)


if __name__ == "__main__":
    main()
