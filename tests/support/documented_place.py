"""What the commands of README and docs find in the folder where they are run: everything they name, tiny."""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import ResNetModel

from bsp_hf import (
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    FeatureTrack,
    GTADConfig,
    GTADForTemporalActionLocalization,
    save_checkpoint_folder,
    save_localizer_folder,
)
from bsp_hf.features import write_track
from bsp_hf.pretraining.rendering.clips import render_action_clips, render_long_video
from support.doc_pages import ROOT
from support.foreign_weights import BOTTLENECK, random_resnet, tsm_weights
from support.lite_weights import NARROW, lite_weights
from support.published_weights import export_gtad_state_dict
from support.tiny import randomize, tiny_config
from support.tiny_localizers import companions_of, tiny_localizer

LAYOUT = {"width": 48, "height": 36}
TSM_NAME = "TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth"


def lay_out(folder: Path) -> Path:
    """Write clips, long videos, annotations, encoders, localizers and foreign checkpoints."""
    for name in ("examples", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)
    _render_videos(folder)
    _write_annotations(folder)
    _save_models(folder)
    rows = np.random.default_rng(0).normal(size=(40, 16))
    for name in ("recording", "other"):
        grid = {"fps": 25.0, "snippet_frames": 8, "stride_frames": 8}
        track = FeatureTrack.from_rows(rows, video_id=name, encoder="bsp-tsm-r50", **grid)
        write_track(track, folder / "made-features" / f"{name}.npz")
    return folder


def _render_videos(folder: Path) -> None:
    clips = render_action_clips(
        folder / "clips",
        num_clips_per_class=2,
        num_held_out_per_class=2,
        min_duration_s=1.3,
        max_duration_s=1.5,
        **LAYOUT,
    )
    lines = [f"{path.relative_to(clips)},{path.parent.name},{path.parents[1].name}"
             for path in sorted(clips.rglob("*.mp4"))]  # fmt: skip
    (clips / "splits.csv").write_text("\n".join(["file,class,split", *lines]) + "\n")
    (folder / "kinetics400").mkdir()
    # With its held-out clips, because a tenth of so few makes no boundaries.
    (folder / "kinetics400" / "train").symlink_to(clips)
    short = {"num_actions": 2, "min_action_s": 1.0, "max_action_s": 1.5, **LAYOUT}
    places = ["video", "kitchen", "recordings/monday", "recordings/tuesday"]
    for name in ("v_one", "v_two", "v_three"):
        places += [f"activitynet/videos/{name}", f"videos/{name}"]
    for seed, name in enumerate(places):
        render_long_video(folder / f"{name}.mp4", seed=seed % 7, **short)
    # Twenty-one minutes in as many frames as a minute has elsewhere.
    render_long_video(
        folder / "recording.mp4", num_actions=6, min_action_s=205, max_action_s=210, fps=1, **LAYOUT
    )


def _write_annotations(folder: Path) -> None:
    segments = [{"segment": [0.2, 1.1], "label": "jump"}, {"segment": [1.2, 1.9], "label": "run"}]
    subsets = {"v_one": "training", "v_two": "training", "v_three": "validation"}
    database = {
        name.removeprefix("v_"): {"duration": 2.0, "subset": subset, "annotations": segments}
        for name, subset in subsets.items()
    }
    content = {"version": "VERSION 1.3", "taxonomy": [], "database": database}
    (folder / "activity_net.v1-3.min.json").write_text(json.dumps(content))
    scores = {name: [0.7, 0.3] for name in database}
    content = {"class": ["jump", "run"], "results": scores}
    (folder / "cuhk_val_simp_share.json").write_text(json.dumps(content))


def _save_models(folder: Path) -> None:
    extractor = BSPFeatureExtractor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    encoder = randomize(BSPForBoundaryClassification(tiny_config())).eval()
    record = {"task": "boundary", "history": [{"step": 1, "loss": 1.0}]}
    for name in ("bsp-tsm-r50", "bsp-tsm-r18", "action-encoder"):
        save_checkpoint_folder(encoder, extractor, folder / name, record)
    width = encoder.config.hidden_size
    for name, kind in (("tan-charades", "tan"), ("gtad-activitynet", "gtad"), ("runs/gtad", "gtad")):
        localizer = tiny_localizer(kind, feature_dim=width)
        companions = companions_of(kind)
        save_localizer_folder(localizer, folder / name, encoder=folder / "bsp-tsm-r50", **companions)
    ResNetModel(random_resnet(**BOTTLENECK).config).save_pretrained(folder / "microsoft" / "resnet-50")
    torch.save({"state_dict": tsm_weights(**BOTTLENECK)}, folder / TSM_NAME)
    torch.save({"state_dict": tsm_weights(**BOTTLENECK)}, folder / "tsm_kinetics.pth.tar")
    lite = lite_weights(**NARROW | {"depths": (1, 2, 2, 3, 3, 4, 1)})
    torch.save(lite, folder / "efficientnet-lite0-57934424.pth")
    config = GTADConfig.thumos14(feature_dim=8, hidden_dim=128, aligned_dim=24, map_dim=16)
    weights = export_gtad_state_dict(GTADForTemporalActionLocalization(config).state_dict())
    torch.save({"epoch": 9, "state_dict": weights}, folder / "checkpoint.pth.tar")


__all__ = ["lay_out"]
