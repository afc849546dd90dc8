r"""Which preset of the synthesis gives the better encoder? Small ones, trained at equal cost, frozen, probed.

    python benchmarks/compare_presets.py train consecutive text robust action --seeds 0 1 2 \
        --init_from lite0-imagenet --data DATA --work runs/presets
    python benchmarks/compare_presets.py probe imagenet consecutive text robust action --seeds 0 1 2 ...
    python benchmarks/compare_presets.py shortcuts figure text robust consecutive ...
    python benchmarks/compare_presets.py table

`DATA` holds `actions_mini` (trimmed clips, `splits.csv`), `untrimmed_sim` and `untrimmed_real`. Each step
writes one small JSON record into `--results` and is not repeated where that lies; a training that was stopped
begins anew. Decoded frames, encoders and features go to `--work`. On one core with AVX-512, a training of 700
steps of 16 clips of 64 pixels takes about ten minutes, the features of an encoder three.
"""

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import example_modules  # noqa: F401  finds examples/reproduction
import numpy as np
import preset_probes as probes
import torch
import torch.nn.functional as F
from reproduction.preset_records import preset_tables
from reproduction.probes import QUESTIONS, Answers, answer, measure
from torch import nn
from transformers import AutoModel

from bsp_hf import BSPFeatureExtractor, BSPForBoundaryClassification, BSPModel, PretextClips, SynthesisConfig
from bsp_hf.encoder.backbones import to_channels_last
from bsp_hf.features.engine.fast_encoder import has_fast_bfloat16, prepare_encoder
from bsp_hf.pretrained import PACKAGED, pretrained_path
from bsp_hf.pretraining.augmentation import SpatialAugmentation
from bsp_hf.pretraining.controls.exchange import exchange_transition, faded_boundaries
from bsp_hf.pretraining.controls.shortcuts import measure_shortcuts
from bsp_hf.pretraining.drawing.presets import SYNTHESIS_PRESETS
from bsp_hf.pretraining.frame_store import FrameStore
from bsp_hf.pretraining.pretexts import BoundaryWithAction, make_pretext
from bsp_hf.pretraining.sources import count_frames, scan_video_folder, split_sources
from bsp_hf.training.sampler import EpochSampler

BATCH = 16
# Of EfficientNet-Lite0: what lies before sees single frames, as ImageNet had them.
SHIFT_BLOCKS = list(range(8, 16))


@dataclass(frozen=True)
class Variant:
    """A training.

    Args:
        synthesis (`SynthesisConfig`): Settings of its clips.
        task (`str`): The pretext.
        steps (`int`): Of `BATCH` clips.
        keep_weight (`float`): Weight of a loss that keeps the initial frame features within linear reach.
        frozen_blocks (`int`): The stem and so many first blocks of the backbone stay as they are.
        backbone_rate (`float`): Learning rate of the backbone; the classifier has 2e-3.
        start (`str`): Variant to start from, instead of the initial weights.
        action_weight (`float`): Weight of a second classifier's loss, of the actions of clips that show one.
        anchored (`bool`): What is kept are the features of the initial weights with the shift, as they are.
        frozen_norm (`bool`): Batch norms keep the statistics of ImageNet.
    """

    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    task: str = "boundary"
    steps: int = 700
    keep_weight: float = 0.0
    frozen_blocks: int = 5
    backbone_rate: float = 4e-4
    start: str = ""
    action_weight: float = 0.0
    anchored: bool = False
    frozen_norm: bool = False


def variants() -> dict[str, Variant]:
    """Return every training by its name."""
    named = {name: Variant(config) for name, config in SYNTHESIS_PRESETS.items()}
    robust = SYNTHESIS_PRESETS["robust"]
    off = {
        "spacing": {"max_spacing": 0},
        "change-point": {"draws_change_point": False},
        "transitions": {"transitions": ()},
        "distractors": {"jump_counts": ()},
        "partners": {"partner_choice": "random"},
    }
    named |= {f"robust-no-{name}": Variant(replace(robust, **fields)) for name, fields in off.items()}
    named["robust-ramp"] = Variant(replace(robust, ramp_epochs=2.5))
    named["robust-long"] = Variant(robust, steps=2100)
    named["robust-ramp-long"] = Variant(replace(robust, ramp_epochs=6.0), steps=2100)
    named["robust-changes"] = Variant(replace(robust, num_changes=2))
    plain = {name: value for fields in off.values() for name, value in fields.items()}
    plain |= {"max_spacing": 30, "draws_change_point": True}
    named["one-spacing"] = Variant(replace(robust, **plain))
    named["action"] = Variant(SynthesisConfig(action_sampling="segments"), task="action")
    for name in (*SYNTHESIS_PRESETS, "robust-ramp", "one-spacing", "action"):
        named[f"{name}-keep"] = replace(named[name], keep_weight=1.0)
        named[f"{name}-frozen"] = replace(named[name], frozen_blocks=11)
        named[f"{name}-after-action"] = replace(named[name], start="action")
        named[f"{name}-with-action"] = replace(named[name], action_weight=1.0)
        named[f"{name}-with-action-keep"] = replace(named[name], action_weight=1.0, keep_weight=1.0)
        anchored = {"anchored": True, "frozen_norm": True}
        named[f"{name}-anchored"] = replace(named[name], keep_weight=1.0, **anchored)
        named[f"{name}-slow"] = replace(named[name], backbone_rate=1e-4)
        named[f"{name}-whole"] = replace(named[name], frozen_blocks=0)
        named[f"{name}-whole-slow"] = replace(named[name], frozen_blocks=0, backbone_rate=1e-4)
    return named


# Encoders that are not trained.
STARTS = ("random", "imagenet", "imagenet-shifted")


class Material:
    """The trimmed clips, decoded once."""

    def __init__(self, data: Path, work: Path, size: int):
        folder = data / "actions_mini"
        found, _ = count_frames(scan_video_folder(folder, folder / "splits.csv"), cache=work / "counts.json")
        self.train, self.held_out = split_sources(found)
        self.names = tuple(sorted({source.label for source in self.train}))
        self.augmentation = SpatialAugmentation(size)
        # Large enough that the smallest random crop is not enlarged.
        self.store = FrameStore(work / "frames", short_side=round(size / min(self.augmentation.scales)))

    def clips(
        self, variant: Variant, extractor: BSPFeatureExtractor, seed: int, is_held_out: bool, **options
    ):
        """Return clips to train on, or of held-out sources, without what helps to learn."""
        config = variant.synthesis.for_evaluation() if is_held_out else variant.synthesis
        pretext = make_pretext(variant.task, config, self.names)
        if variant.action_weight and not is_held_out:
            pretext = BoundaryWithAction(config, self.names)
        sources = self.held_out if is_held_out else self.train
        augmentation = None if is_held_out else self.augmentation
        return PretextClips(sources, pretext, extractor, augmentation, self.store, seed=seed, **options)


def load_extractor(args: argparse.Namespace) -> BSPFeatureExtractor:
    """Return the preprocessing of the initial weights, at the size of this comparison."""
    size = {
        "size": {"shortest_edge": args.size},
        "crop_size": {"height": args.size, "width": args.size},
    }
    return BSPFeatureExtractor.from_pretrained(args.init_from, **size)


def build_model(args: argparse.Namespace, variant: Variant, label_names: tuple[str, ...], seed: int):
    """Return a classifier with the weights that the variant starts from."""
    place = args.work / "encoders" / f"{variant.start}-{seed}" if variant.start else args.init_from
    torch.manual_seed(seed)
    model = BSPForBoundaryClassification.from_pretrained(
        place,
        id2label=dict(enumerate(label_names)),
        label2id={name: number for number, name in enumerate(label_names)},
        ignore_mismatched_sizes=True,
        classifier_dropout=0.2,
        shift_blocks=SHIFT_BLOCKS,
    )
    if variant.frozen_blocks:
        model.bsp.freeze_blocks(variant.frozen_blocks)
    return to_channels_last(model)


class KeptFeatures(nn.Module):
    """The loss that keeps the frame features of the initial weights within linear reach of the encoder's."""

    def __init__(self, init_from: str, dim: int, anchored: bool):
        super().__init__()
        options: dict = {"shift_blocks": SHIFT_BLOCKS} if anchored else {"shift_place": "none"}
        self.initial = to_channels_last(BSPModel.from_pretrained(init_from, **options)).eval()
        self.initial.requires_grad_(False)
        self.project = nn.Linear(dim, dim)
        nn.init.eye_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.project.requires_grad_(not anchored)

    def forward(self, pixels: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Return the squared error of the projected features, one where nothing of them is left."""
        with torch.no_grad():
            wanted = self.initial(pixels).last_hidden_state
        return F.mse_loss(self.project(features), wanted) / wanted.var(dim=(0, 1)).mean()


def train(name: str, seed: int, args: argparse.Namespace, material: Material) -> dict:
    """Train a variant, save its encoder and return its record."""
    variant, extractor = variants()[name], load_extractor(args)
    clips = material.clips(variant, extractor, seed, is_held_out=False)
    model = build_model(args, variant, clips.pretext.label_names, seed)
    keeper = None
    if variant.keep_weight:
        keeper = KeptFeatures(args.init_from, model.config.hidden_size, variant.anchored)
    actions = nn.Linear(model.config.hidden_size, len(material.names))
    body = [p for p in model.bsp.parameters() if p.requires_grad]
    head = [*model.classifier.parameters(), *actions.parameters()]
    head += [p for p in keeper.project.parameters() if p.requires_grad] if keeper else []
    groups = [{"params": body, "lr": variant.backbone_rate}, {"params": head, "lr": 2e-3}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02)
    warmup = variant.steps // 20
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.5 * (1 + np.cos(np.pi * step / variant.steps))),
    )
    sampler = EpochSampler(len(clips), seed, multiple_of=BATCH)
    history, step, epoch, started = [], 0, 0, time.process_time()
    model.train()
    for part in model.modules() if variant.frozen_norm else ():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    while step < variant.steps:
        clips.set_epoch(epoch)
        sampler.set_epoch(epoch)
        order = list(sampler)
        for rows in np.array_split(order, len(order) // BATCH):
            items = [clips[int(index)] for index in rows]
            pixels = extractor.normalize_pixels(torch.stack([item["pixels"] for item in items]))
            labels = torch.as_tensor(np.array([item["labels"] for item in items]))
            output = model.bsp(pixels)
            frame_features = model.dropout(output.last_hidden_state)
            logits = model.classifier(frame_features).mean(1)
            loss = torch.zeros(())
            if variant.action_weight:
                labels, shown = labels.unbind(1)
                loss = variant.action_weight * F.cross_entropy(actions(frame_features).mean(1), shown)
            loss = loss + F.cross_entropy(logits, labels)
            kept = keeper(pixels, output.last_hidden_state) if keeper else torch.zeros(())
            (loss + variant.keep_weight * kept).backward()
            nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], 5.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            accuracy = (logits.argmax(1) == labels).float().mean().item()
            history.append([loss.item(), accuracy, kept.item()])
            step += 1
            if step % 50 == 0:
                recent = np.mean(history[-50:], axis=0)
                seconds = time.process_time() - started
                print(f"{name}-{seed} step {step}: loss {recent[0]:.3f}, accuracy {recent[1]:.3f}, "
                      f"kept {recent[2]:.3f}, {seconds:.0f} s of processor", flush=True)  # fmt: skip
            if step == variant.steps:
                break
        epoch += 1
    model.save_pretrained(args.work / "encoders" / f"{name}-{seed}")
    curve = np.array(history)[: variant.steps // 50 * 50].reshape(-1, 50, 3).mean(1).round(3).tolist()
    record = {"variant": name, "seed": seed, "steps": variant.steps, "task": variant.task}
    record |= {"keep_weight": variant.keep_weight, "frozen_blocks": variant.frozen_blocks}
    record |= {"start": variant.start or Path(args.init_from).name, "synthesis": variant.synthesis.to_dict()}
    record |= {"processor_s": round(time.process_time() - started), "curve": curve}
    return record | judge_pretext(model, name, extractor, material)


@torch.inference_mode()
def predict(model: nn.Module, extractor: BSPFeatureExtractor, frames: list[np.ndarray]) -> np.ndarray:
    """Return the label that a model gives every clip."""
    answers = []
    for start in range(0, len(frames), 32):
        pixels = torch.from_numpy(np.stack(frames[start : start + 32])).permute(0, 1, 4, 2, 3)
        answers.append(model(extractor.normalize_pixels(pixels)).logits.argmax(-1))
    return torch.cat(answers).numpy()


def judge_pretext(model: nn.Module, name: str, extractor: BSPFeatureExtractor, material: Material) -> dict:
    """Return the accuracy on held-out sources, and how many answers follow an exchanged transition."""
    variant = variants()[name]
    model.eval()
    clips = material.clips(variant, extractor, 12345, is_held_out=True)
    shown = [clips.read(index, epoch) for epoch in range(2) for index in range(len(clips))]
    answers = predict(model, extractor, [clip.frames for clip in shown])
    truth = np.array([clip.target for clip in shown])
    result = {"accuracy": round(float((answers == truth).mean()), 4)}
    if variant.task == "boundary":
        result["recall"] = [round(float((answers[truth == k] == k).mean()), 4) for k in range(4)]
        pretext = faded_boundaries(variant.synthesis.for_evaluation())
        boundaries = PretextClips(material.held_out, pretext, extractor, store=material.store, seed=54321)
        pairs = [exchange_transition(boundaries, index) for index in range(len(boundaries))]
        pairs = [pair for pair in pairs if pair]
        faded, hard = (
            predict(model, extractor, [clip.frames for clip in part]) for part in zip(*pairs, strict=True)
        )
        result["exchanged"] = round(float((faded != hard).mean()), 4)
    return result


def load_encoder(name: str, seed: int, args: argparse.Namespace) -> nn.Module:
    """Return a frozen encoder by its name."""
    if name in PACKAGED:
        return to_channels_last(AutoModel.from_pretrained(pretrained_path(name))).eval()
    if name == "random":
        torch.manual_seed(seed)
        config = BSPModel.from_pretrained(args.init_from, shift_blocks=SHIFT_BLOCKS).config
        return to_channels_last(BSPModel(config)).eval()
    if name == "imagenet-shifted":
        return to_channels_last(BSPModel.from_pretrained(args.init_from, shift_blocks=SHIFT_BLOCKS)).eval()
    if name == "imagenet":
        # As an image network: the weights know no shift.
        return to_channels_last(BSPModel.from_pretrained(args.init_from, shift_place="none")).eval()
    return to_channels_last(BSPModel.from_pretrained(args.work / "encoders" / f"{name}-{seed}")).eval()


def read_videos(args: argparse.Namespace, material: Material) -> dict[str, list[probes.FramesToProbe]]:
    """Return the videos of every kind."""
    store = FrameStore(args.work / "frames", short_side=args.size)
    return {
        "joins": probes.join_videos(material.held_out, store, args.size),
        "sim": probes.sim_videos(args.data / "untrimmed_sim", store),
        "quva": probes.quva_videos(args.data / "untrimmed_real", store),
    }


def read_features(
    name: str, seed: int, args: argparse.Namespace, videos: dict[str, list[probes.FramesToProbe]]
) -> dict[str, list[np.ndarray]]:
    """Return the features of an encoder, or of several joined by `+`, computed once."""
    if "+" in name:
        first, second = name.split("+")
        # Two encoders of one variant are those of two seeds.
        other = seed + 1 if first == second else seed
        one, two = read_features(first, seed, args, videos), read_features(second, other, args, videos)
        return {kind: [np.concatenate(pair, axis=1) for pair in zip(one[kind], two[kind], strict=True)]
                for kind in videos}  # fmt: skip
    path = args.work / "features" / f"{name}-{seed}.npz"
    if not path.exists():
        extractor, device = load_extractor(args), torch.device("cpu")
        dtype = torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
        model = prepare_encoder(load_encoder(name, seed, args), extractor, dtype, device)
        rows = {
            f"{kind} {number}": probes.encode(
                model, lambda pixels: extractor.normalize_pixels(pixels).to(dtype), video
            )
            for kind, some in videos.items()
            for number, video in enumerate(some)
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path.with_suffix(".tmp.npz"), **rows)
        os.replace(path.with_suffix(".tmp.npz"), path)
    with np.load(path) as kept:
        return {kind: [kept[f"{kind} {n}"] for n in range(len(some))] for kind, some in videos.items()}


def probe(
    name: str, seed: int, args: argparse.Namespace, videos: dict[str, list[probes.FramesToProbe]]
) -> dict:
    """Answer every question with an encoder's features; keep the answers, return the scores."""
    features = read_features(name, seed, args, videos)
    record: dict = {"encoder": name, "seed": seed, "scores": {}}
    kept = {}
    for question, (kind, _) in QUESTIONS.items():
        answers = answer(question, videos[kind], features[kind])
        record["scores"][question] = round(measure(question, answers), 4)
        kept |= {f"{question}|{part}": value for part, value in vars(answers).items()}
    path = args.work / "answers" / f"{name}-{seed}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **kept)
    print(name, seed, record["scores"], flush=True)
    return record


def read_answers(path: Path, question: str) -> Answers:
    with np.load(path) as kept:
        return Answers(*(kept[f"{question}|{part}"] for part in ("videos", "scores", "labels")))


def compare_all(args: argparse.Namespace, base: str) -> dict:
    """Compare every encoder with a base of the same seed, or its first; by drawing videos."""
    found = {}
    for path in sorted((args.work / "answers").glob("*.npz")):
        name, _, seed = path.stem.rpartition("-")
        base_path = path.with_name(f"{base}-{seed}.npz")
        base_path = base_path if base_path.exists() else path.with_name(f"{base}-0.npz")
        if name == base or not base_path.exists():
            continue
        found[path.stem] = {
            question: [round(v, 4) for v in probes.compare(
                question, read_answers(path, question), read_answers(base_path, question))]
            for question in QUESTIONS
        }  # fmt: skip
    return found


def shortcuts(name: str, args: argparse.Namespace, material: Material) -> dict:
    """Measure what a variant's clips give away."""
    variant, extractor = variants()[name], load_extractor(args)
    held_out = material.clips(variant, extractor, 12345, is_held_out=True)
    # Cropped like held-out clips: what shallow classifiers find is the most that they could.
    train_clips = PretextClips(
        material.train, make_pretext("boundary", held_out.pretext.synthesis), extractor, store=material.store
    )
    report = asdict(measure_shortcuts(train_clips, held_out))
    print(name, {key: round(value, 3) for key, value in report.items()}, flush=True)
    return {"variant": name} | {key: round(value, 4) for key, value in report.items()}


def once(path: Path, make) -> dict:
    """Return the record that lies at a path, or make it."""
    if not path.exists():
        record = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".tmp").write_text(json.dumps(record, indent=1) + "\n")
        os.replace(path.with_suffix(".tmp"), path)
    return json.loads(path.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("train", "probe", "shortcuts", "compare", "table"))
    parser.add_argument(
        "names", nargs="*", help="variants; for probe also random, imagenet, packaged encoders and A+B"
    )
    parser.add_argument("--size", type=int, default=64, help="pixels of the square that encoders see")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--init_from", default="lite0-imagenet", help="folder of an image encoder")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/presets"))
    parser.add_argument("--results", type=Path, default=Path("results/presets"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.step == "table":
        print(preset_tables(args.results))
        return
    if args.step == "compare":
        for base in args.names:
            path = args.results / f"against-{base.replace('+', '-and-')}.json"
            path.write_text(json.dumps(compare_all(args, base), indent=1) + "\n")
        return
    args.work.mkdir(parents=True, exist_ok=True)
    material = Material(args.data, args.work, args.size)
    if args.step == "shortcuts":
        for name in args.names:
            once(
                args.results / "shortcuts" / f"{name}.json", lambda name=name: shortcuts(name, args, material)
            )
        return
    videos = read_videos(args, material) if args.step == "probe" else {}
    for seed in args.seeds:
        for name in args.names:
            make = {
                "train": lambda name=name, seed=seed: train(name, seed, args, material),
                "probe": lambda name=name, seed=seed: probe(name, seed, args, videos),
            }[args.step]
            once(args.results / args.step / f"{name}-{seed}.json", make)


if __name__ == "__main__":
    main()
