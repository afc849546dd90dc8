"""Settings of `examples/pretrain.py` that belong together."""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # TSM's published Kinetics training (SPEC of TSM, Sec. 2.6) on the paper's pretext.
    "paper": {},
    # A narrow ResNet-18 on small clips, for a laptop's CPU. Class boundaries are learned within the first
    # thousand clips, so most of the training shows changes of speed and their absence.
    "demo": {
        "backbone": "resnet18",
        "width_multiplier": 0.5,
        "short_side": 72,
        "crop_size": 64,
        "case_repeats": [1, 1, 3, 3],
        "dropout": 0.0,
        "batch_size": 32,
        "optimizer": "adamw",
        "learning_rate": 2e-3,
        "weight_decay": 0.05,
        "schedule": "cosine",
        "warmup_share": 0.1,
        "max_grad_norm": 5.0,
        "epochs": 1000,
        "max_steps": 900,
        "eval_every": 300,
        "save_every": 200,
    },
}

__all__ = ["PRESETS"]
