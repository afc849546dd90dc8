"""Records of trained and converted encoders and localizers; tests keep the card of each."""

from typing import Any

ENCODER = {
    "encoder": {
        "architecture": "resnet18",
        "model_class": "BSPForBoundaryClassification",
        "num_parameters": 2_805_000,
        "feature_dim": 256,
        "num_labels": 4,
        "num_frames": 8,
        "preprocessing": "RGB, short side 72",
    },
    "task": "boundary",
    "arguments": {"seed": 3, "video_dir": "clips", "init_from": "microsoft/resnet-18"},
    "num_sources": {"training": 555, "held_out": 215},
    "clips_seen": 640,
    "history": [
        {"step": 10, "eval_loss": 1.5, "eval_accuracy": 0.25, "eval_num_clips": 80},
        {"step": 20, "loss": 0.9},
        {
            "step": 20,
            "eval_loss": 0.5,
            "eval_accuracy": 0.75,
            "eval_class_recall": {"diff-class": 1.0, "same-speed": float("nan")},
            "eval_num_clips": 80,
        },
    ],
    "command": "accelerate launch examples/pretrain.py --seed 3",
    "commit": "0123abc",
    "versions": {"torch": "2.13.0"},
    "hardware": {"device": "cpu", "threads": 2},
    "time": {"wall_s": 90.0, "cpu_s": 7200.0},
}
ENCODER_CARD = {"license": "apache-2.0", "training_data": "555 clips of people."}

LOCALIZER = {
    "localizer": {
        "kind": "gtad",
        "model_class": "GTADForTemporalActionLocalization",
        "num_parameters": 5_563_268,
        "feature_dim": 512,
        "feature_fps": 25.0,
        "feature_stride_frames": 8,
        "encoders": [
            {"id": "org/bsp-tsm-r18", "revision": "a" * 40},
            {"id": "mine", "revision": "weights-1"},
        ],
        "holds_encoder": True,
        "queries": None,
    },
    "preset": "activitynet",
    "arguments": {"annotations": "/data/anet.json", "eval_subset": "validation", "seed": 4},
    "hyper_parameters": {"learning_rate": 0.004, "batch_size": 16, "plateau_patience": 20},
    "step": 600,
    "metric": "average_map",
    "results": {"auc": float("nan"), "map@0.5": 0.5036, "average_map": 0.3409},
    "evaluated": "4728 of 4926 videos",
    "num_samples": {"training": 9649, "evaluation": 4728},
    "missing_videos": {"training": ["a"], "evaluation": ["b", "c"]},
    "bad_rows": ["anet.json, line 3: reversed"],
    "command": "accelerate launch examples/train_localizer.py --localizer gtad",
    "commit": "0123abc",
    "versions": {"torch": "2.13.0"},
    "hardware": {"device": "cpu"},
    "time": {"wall_s": 90.0, "cpu_s": 7200.0},
}
LOCALIZER_CARD = {"license": "mit", "training_data": "ActivityNet v1.3, training.", "datasets": ["org/anet"]}

_LISTED = [
    {"name": "accuracy", "value": 0.873, "data": "1720 clips", "seed": seed, "command": "evaluate --all"}
    for seed in (1, 2)
]
_CONVERSION = {"source": {"file": "tsm.pth", "sha256": "ab12"}}
_QUERIES = "word vectors of 300 numbers"

# Name of the kept card: the record.
RECORDS: dict[str, dict[str, Any]] = {
    "encoder": {**ENCODER, "card": ENCODER_CARD},
    "encoder_without_facts": {},
    "encoder_with_listed_metrics": {
        **ENCODER,
        "metrics": _LISTED,
        "seeds": [1, 2],
        "energy_kwh": 0.25,
        "command": ["first", "second"],
        "card": {**ENCODER_CARD, "results_note": "Two runs.", "tags": ["mine"], "datasets": ["ucf101"]},
    },
    "encoder_converted": {"conversion": _CONVERSION},
    "encoder_of_rendered_clips": {
        "arguments": {"video_dir": None},
        "num_sources": {"training": 40, "held_out": 20},
        "is_trained": False,
    },
    "gtad": {**LOCALIZER, "card": LOCALIZER_CARD},
    "tan": {"localizer": {"kind": "tan", "queries": _QUERIES, "feature_dim": 4096}, "bad_rows": []},
    "lgi_converted": {"localizer": {"kind": "lgi"}, "conversion": _CONVERSION, "preset": "charades"},
    "actionness": {
        "localizer": {"kind": "actionness", "encoders": [{"id": "org/a", "revision": "main"}]},
        "metric": "pooled_ap",
        "evaluated": "4 of 5 videos",
        "missing_videos": {"training": [], "evaluation": []},
        "hyper_parameters": {"plateau_factor": 0.5, "plateau_patience": 2, "momentum": 0.0},
        "num_samples": {"training": 3, "evaluation": 4},
        "results": {"pooled_ap": 0.5, "positive_share": 0.25},
    },
}
