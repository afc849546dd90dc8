"""Parameter groups against those of the published TSM training, optimizers, and schedules by table."""

import re

import pytest
import torch
from torch import nn

from bsp_hf import BSPConfig, BSPForBoundaryClassification
from bsp_hf.encoder.modeling_bsp import BSPForBoundaryRegression
from bsp_hf.pretraining.run.optimization import build_optimizer, build_schedule, tsm_parameter_groups


def published_name(name: str) -> str:
    """Name of a parameter of this package in the published TSM code, by its layout and not by a converter."""
    name = name.removeprefix("bsp.backbone.")
    if name.startswith("classifier."):
        return name.replace("classifier.", "new_fc.")
    parts = {"convolution": ("conv1", ""), "normalization": ("bn1", "")}
    if match := re.fullmatch(r"embedder\.embedder\.(\w+)\.(\w+)", name):
        return f"base_model.{parts[match[1]][0]}.{match[2]}"
    match = re.fullmatch(
        r"encoder\.stages\.(\d)\.layers\.(\d)\.(.*)\.(convolution|normalization)\.(\w+)", name
    )
    stage, block, place, kind, leaf = match.groups()
    prefix = f"base_model.layer{int(stage) + 1}.{block}"
    if place == "shortcut":
        return f"{prefix}.downsample.{0 if kind == 'convolution' else 1}.{leaf}"
    number = int(place.removeprefix("layer.")) + 1
    if kind == "normalization":
        return f"{prefix}.bn{number}.{leaf}"
    # The shift wraps the first convolution of a block.
    return f"{prefix}.conv{number}.{'net.' if number == 1 else ''}{leaf}"


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_groups_are_those_of_the_published_training(backbone, golden_json):
    with torch.device("meta"):
        config = BSPConfig.from_backbone_name(backbone, id2label=dict(enumerate(map(str, range(400)))))
        model = BSPForBoundaryClassification(config)
    names = {id(parameter): published_name(name) for name, parameter in model.named_parameters()}
    assert len(set(names.values())) == len(names)
    ours = {}
    for group in tsm_parameter_groups(model, learning_rate=0.02, weight_decay=1e-4):
        for parameter in group["params"]:
            assert names[id(parameter)] not in ours
            ours[names[id(parameter)]] = (group["lr"] / 0.02, group["weight_decay"] / 1e-4)
    published = {
        name: (group["lr_mult"], group["decay_mult"])
        for group in golden_json(f"tsm/optimizer_groups_{backbone}")["groups"]
        for name in group["names"]
    }
    assert set(ours) == set(published)
    for name, multipliers in published.items():
        assert ours[name] == pytest.approx(multipliers), name


class Mixed(nn.Module):
    """One of everything: convolution with bias, norms, linear, a bare parameter, a frozen layer, a head."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4), nn.LayerNorm(4), nn.GroupNorm(2, 4)])
        self.linear = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(1))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.classifier = nn.Linear(4, 2)


def groups_by_name(model: nn.Module, **options) -> dict[str, dict]:
    return {group["name"]: group for group in tsm_parameter_groups(model, 1.0, 0.5, **options)}


def test_every_trainable_parameter_is_in_one_group():
    model = Mixed()
    groups = groups_by_name(model)
    members = {name: {id(parameter) for parameter in group["params"]} for name, group in groups.items()}
    assert members == {
        "weight": {id(model.convolution.weight), id(model.linear.weight), id(model.scale)},
        "bias": {id(model.convolution.bias), id(model.linear.bias)},
        "normalization": {id(parameter) for parameter in model.norms.parameters()},
        "classifier weight": {id(model.classifier.weight)},
        "classifier bias": {id(model.classifier.bias)},
    }
    assert {name: (group["lr"], group["weight_decay"]) for name, group in groups.items()} == {
        "weight": (1.0, 0.5),
        "bias": (2.0, 0.0),
        "normalization": (1.0, 0.0),
        "classifier weight": (5.0, 0.5),
        "classifier bias": (10.0, 0.0),
    }
    groups = groups_by_name(model, head_multiplier=1.0)
    assert (groups["classifier weight"]["lr"], groups["classifier bias"]["lr"]) == (1.0, 2.0)


def test_a_model_without_a_head_has_no_head_groups():
    model = Mixed()
    del model.classifier
    assert set(groups_by_name(model)) == {"weight", "bias", "normalization"}


def test_the_regression_head_is_a_head_too():
    with torch.device("meta"):
        model = BSPForBoundaryRegression(BSPConfig.from_backbone_name("resnet18"))
    assert groups_by_name(model)["classifier weight"]["params"] == [model.classifier.weight]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_backbone_learns_at_its_own_rate(name):
    with torch.device("meta"):
        config = BSPConfig.from_backbone_name("efficientnet-lite0", id2label={0: "a", 1: "b"})
        model = BSPForBoundaryClassification(config)
    plain = {id(p): g for g in build_optimizer(name, model, 0.1, 0.01).param_groups for p in g["params"]}
    scaled = build_optimizer(name, model, 0.1, 0.01, backbone_lr_scale=0.25).param_groups
    assert scaled[0]["name"] == "backbone weight"
    assert sum(len(group["params"]) for group in scaled) == len(plain)
    for group in scaled:
        for parameter in group["params"]:
            factor = 0.25 if any(parameter is p for p in model.bsp.backbone.parameters()) else 1.0
            assert group["lr"] == pytest.approx(factor * plain[id(parameter)]["lr"])
            assert group["weight_decay"] == plain[id(parameter)]["weight_decay"]


def test_optimizers_have_their_settings():
    model = Mixed()
    sgd = build_optimizer("sgd", model, 0.1, 0.01, momentum=0.8)
    assert isinstance(sgd, torch.optim.SGD)
    assert [group["lr"] for group in sgd.param_groups] == pytest.approx([0.1, 0.2, 0.1, 0.5, 1.0])
    assert [group["weight_decay"] for group in sgd.param_groups] == [0.01, 0.0, 0.0, 0.01, 0.0]
    assert {group["momentum"] for group in sgd.param_groups} == {0.8}
    adamw = build_optimizer("adamw", model, 0.1, 0.01)
    assert isinstance(adamw, torch.optim.AdamW)
    assert {group["lr"] for group in adamw.param_groups} == {0.1}
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.01, 0.0, 0.0, 0.01, 0.0]
    with pytest.raises(ValueError, match="'lion' is unknown; choose one of sgd, adamw"):
        build_optimizer("lion", model, 0.1, 0.01)


# Schedules


def rates(name: str, total_steps: int, **options) -> list[float]:
    """Rate of every step, over the base rate."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    schedule = build_schedule(name, optimizer, total_steps, **options)
    seen = []
    for _ in range(total_steps):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("constant", {}, [1] * 10),
        ("constant", {"warmup_steps": 4}, [0.25, 0.5, 0.75, *[1] * 7]),
        # Milestones at 40 % and 80 %: TSM's epochs 20 and 40 of 50.
        ("step", {}, [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        ("step", {"milestones": (0.5,)}, [1] * 5 + [0.1] * 5),
        ("step", {"warmup_steps": 2}, [0.5, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        # (1 + cos(pi k / 10)) / 2.
        (
            "cosine",
            {},
            [1, 0.975528, 0.904508, 0.793893, 0.654508, 0.5, 0.345492, 0.206107, 0.095492, 0.024472],
        ),
        # After two steps of warm-up, (1 + cos(pi k / 8)) / 2.
        (
            "cosine",
            {"warmup_steps": 2},
            [0.5, 1, 1, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060],
        ),
    ],
)
def test_schedules_by_table(name, options, expected):
    assert rates(name, 10, **options) == pytest.approx(expected, abs=1e-6)


def test_milestones_fall_on_the_step_of_their_share_for_any_length():
    for total_steps in range(5, 3000, 5):
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
        factor = build_schedule("step", optimizer, total_steps).lr_lambdas[0]
        fifth = total_steps // 5
        steps = (2 * fifth - 1, 2 * fifth, 4 * fifth - 1, 4 * fifth)
        assert [factor(step) for step in steps] == pytest.approx([1, 0.1, 0.1, 0.01]), total_steps


def test_each_group_keeps_its_multiplier():
    optimizer = build_optimizer("sgd", Mixed(), 0.1, 0.01)
    schedule = build_schedule("step", optimizer, 10)
    for _ in range(5):
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.01, 0.02, 0.01, 0.05, 0.1])


def test_schedules_go_on_from_their_saved_state():
    def fresh():
        return build_schedule("cosine", torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0), 10, 3)

    def advance(schedule, num_steps: int) -> None:
        for _ in range(num_steps):
            schedule.optimizer.step()
            schedule.step()

    straight, first, second = fresh(), fresh(), fresh()
    advance(straight, 6)
    advance(first, 4)
    second.load_state_dict(first.state_dict())
    advance(second, 2)
    assert second.get_last_lr() == straight.get_last_lr()


def test_impossible_schedules_are_refused():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    with pytest.raises(ValueError, match="'linear' is unknown"):
        build_schedule("linear", optimizer, 10)
    for warmup_steps in (-1, 11):
        with pytest.raises(
            ValueError, match=f"warmup_steps={warmup_steps} must be between 0 and total_steps=10"
        ):
            build_schedule("step", optimizer, 10, warmup_steps)
    assert build_schedule("step", optimizer, 0).get_last_lr()[0] > 0
