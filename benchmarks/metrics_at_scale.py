"""Processor seconds of the detection metrics at the size of ActivityNet's validation part, on one core.

    python benchmarks/metrics_at_scale.py            # 4,926 videos, 7,654 instances, 100 predictions a video

Instances and predictions are drawn: three predictions in four lie near an instance of their video, and three
in four have its class. Times are of the functions alone, and of reading both official JSON files besides.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from bsp_hf.metrics import activitynet_map, proposal_recall, read_ground_truth, read_results


def draw(args: argparse.Namespace) -> tuple[dict, dict]:
    """Return ground truth and results in the official layout."""
    rng = np.random.default_rng(args.seed)
    classes = [f"class {number:03d}" for number in range(args.num_classes)]
    owners = np.concatenate([np.arange(args.num_videos), rng.integers(0, args.num_videos, args.num_extra)])
    database, results = {}, {}
    for number in range(args.num_videos):
        duration_s = float(rng.uniform(20, 240))
        label = classes[int(rng.integers(args.num_classes))]
        times_s = np.sort(rng.uniform(0, duration_s, (int((owners == number).sum()), 2)), axis=1)
        segments = [{"segment": window.tolist(), "label": label} for window in times_s]
        database[f"v_{number:05d}"] = {"subset": "validation", "annotations": segments}
        near = times_s[rng.integers(0, len(times_s), args.num_predictions)]
        spread = (
            np.where(rng.random((args.num_predictions, 1)) < 0.75, 0.1, 1.0) * np.ptp(near, axis=1)[:, None]
        )
        found = np.sort(near + rng.normal(size=near.shape) * spread, axis=1)
        named = np.where(
            rng.random(args.num_predictions) < 0.75, label, rng.choice(classes, args.num_predictions)
        )
        results[f"v_{number:05d}"] = [
            {"segment": window.tolist(), "label": str(name), "score": float(score)}
            for window, name, score in zip(found, named, rng.random(args.num_predictions), strict=True)
        ]
    head = {"version": "VERSION 1.3"}
    return {**head, "taxonomy": [], "database": database}, {**head, "results": results, "external_data": {}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num_videos", type=int, default=4926)
    parser.add_argument("--num_extra", type=int, default=7654 - 4926, help="instances beyond one a video")
    parser.add_argument("--num_classes", type=int, default=200)
    parser.add_argument("--num_predictions", type=int, default=100, help="of each video")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    truth, results = draw(args)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in (("truth", truth), ("results", results)):
            (Path(folder) / f"{name}.json").write_text(json.dumps(content))
        started = [time.process_time()]
        table = read_ground_truth(Path(folder) / "truth.json", "validation")
        found = read_results(Path(folder) / "results.json")
        started.append(time.process_time())
    scores = activitynet_map(table, found)
    started.append(time.process_time())
    recall = proposal_recall(table, found)
    started.append(time.process_time())
    print(
        f"{len(table.video_ids)} videos, {len(table)} instances, {len(found)} predictions: "
        f"average mAP {scores.average_map:.4f}, AUC {recall.auc:.2f}"
    )
    for name, seconds in zip(("reading both files", "mAP", "AR@AN and AUC"), np.diff(started), strict=True):
        print(f"{name:20} {seconds:6.2f} s")


if __name__ == "__main__":
    main()
