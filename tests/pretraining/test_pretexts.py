"""Every pretext: its cases and targets, which sources it takes, and that sources never tell the label."""

import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from support.clip_folder import counted_sources, render_classes, small_extractor, unknown_videos

from bsp_hf import BoundaryType, PretextClips, SynthesisConfig
from bsp_hf.pretraining.choices import TASKS
from bsp_hf.pretraining.pretexts import (
    PRETEXTS,
    ActionClassification,
    boundary_heatmap,
    find_pretext,
    make_pretext,
)
from bsp_hf.pretraining.run.settings import PretrainingSettings
from bsp_hf.pretraining.sources import SourceCatalog
from bsp_hf.training.command_line import parse_settings

DIFF_CLASS, SAME_CLASS, DIFF_SPEED, SAME_SPEED = BoundaryType
CLASSES = ("a", "b")

# Kinds of the cases by their boundary, head, label names.
EXPECTED = {
    "boundary": (
        list(BoundaryType),
        "classification",
        ("diff-class", "same-class", "diff-speed", "same-speed"),
    ),
    "diff-class": ([DIFF_CLASS, SAME_SPEED], "classification", ("diff-class", "same-speed")),
    "same-class": ([SAME_CLASS, SAME_SPEED], "classification", ("same-class", "same-speed")),
    "diff-speed": ([DIFF_SPEED, SAME_SPEED], "classification", ("diff-speed", "same-speed")),
    "regression": ([DIFF_CLASS, SAME_CLASS, DIFF_SPEED], "regression", ()),
    "regression-diff-class": ([DIFF_CLASS], "regression", ()),
    "regression-same-class": ([SAME_CLASS], "regression", ()),
    "regression-diff-speed": ([DIFF_SPEED], "regression", ()),
    "action": ([SAME_SPEED], "classification", CLASSES),
    "arrow-of-time": ([SAME_SPEED, "backward"], "classification", ("forward", "backward")),
    "speed": ([SAME_SPEED, "sped-up"], "classification", ("normal", "sped-up")),
}


def observed_kind(plan, catalog: SourceCatalog):
    """Read the kind of a clip off its frames and classes."""
    if len(plan.sources) == 2:
        first, second = (catalog.sources[source].label for source in plan.sources)
        assert plan.sources[0] != plan.sources[1]
        return SAME_CLASS if first == second else DIFF_CLASS
    steps = np.diff(plan.frames[0])
    if (steps == 1).all():
        return SAME_SPEED
    if (steps == -1).all():
        return "backward"
    rates = np.unique(steps)
    return "sped-up" if rates.min() > 1 else DIFF_SPEED


def draws(task: str, sources, epochs: int = 5, **fields):
    pretext = make_pretext(task, SynthesisConfig(**fields), CLASSES)
    clips = PretextClips(sources, pretext, small_extractor())
    for epoch in range(epochs):
        clips.set_epoch(epoch)
        for index in range(len(clips)):
            yield clips, clips.plan(index)


def test_every_task_is_expected_and_has_a_name():
    assert set(TASKS) == set(PRETEXTS) == set(EXPECTED)


@pytest.mark.parametrize("task", TASKS)
def test_cases_show_what_their_label_says(task):
    kinds, head, label_names = EXPECTED[task]
    pretext = make_pretext(task, SynthesisConfig(), CLASSES)
    assert (pretext.num_cases, pretext.head, tuple(pretext.label_names)) == (len(kinds), head, label_names)
    sources = unknown_videos(40, 50, 60, 45)
    for clips, draw in draws(task, sources):
        assert observed_kind(draw.plan, clips.catalog) == kinds[draw.case]
        assert draw.plan.sources[0] == draw.anchor
        target = clips.pretext.target(draw.case, draw.anchor, draw.plan, clips.catalog)
        if task == "action":
            assert CLASSES[target] == clips.catalog.sources[draw.anchor].label
        elif head == "classification":
            assert target == draw.case
        else:
            assert target.dtype == np.float32 and target.shape == (8,)
            before, behind = target[draw.plan.boundary_frame - 1 : draw.plan.boundary_frame + 1]
            assert before == behind == target.max()


@pytest.mark.parametrize("task", TASKS)
def test_every_source_starts_every_case_equally_often(task):
    counts: dict[tuple[int, int], int] = {}
    for _, draw in draws(task, unknown_videos(40, 50, 60, 45), epochs=3):
        counts[draw.anchor, draw.case] = counts.get((draw.anchor, draw.case), 0) + 1
    num_cases = len(EXPECTED[task][0])
    assert counts == {(source, case): 3 for source in range(4) for case in range(num_cases)}


@pytest.mark.parametrize("task", TASKS)
def test_frames_stay_inside_sources_of_the_shortest_usable_length(task):
    pretext = make_pretext(task, SynthesisConfig(), CLASSES)
    usable_lengths = [
        length
        for length in range(1, 40)
        if len(pretext.usable(SourceCatalog(unknown_videos(length, length, length, length))))
    ]
    shortest = usable_lengths[0]
    assert usable_lengths == list(range(shortest, 40))
    # Worked out by hand: t = 2 at gamma 2, or the whole clip at gamma 2: 0, 2 .. 14.
    assert shortest == (15 if task == "speed" else 14)
    for clips, draw in draws(task, unknown_videos(shortest, shortest, shortest + 1, shortest), epochs=20):
        for source, frames in zip(draw.plan.sources, draw.plan.frames, strict=True):
            assert frames.min() >= 0 and frames.max() < clips.catalog.lengths[source]


def test_positions_in_the_source_are_alike_in_both_cases_of_the_rivals():
    # Both cases use the same window: over many draws, the middle of the clip lies in the same place.
    for task in ("arrow-of-time", "speed"):
        centres = {0: [], 1: []}
        for _, draw in draws(task, unknown_videos(60, 60, 60, 60), epochs=150):
            centres[draw.case].append(draw.plan.frames[0].mean())
        first, second = (np.array(centres[case]) for case in (0, 1))
        spread = np.sqrt(first.var() / len(first) + second.var() / len(second))
        assert abs(first.mean() - second.mean()) < 5 * spread


# Usable sources


@pytest.mark.parametrize(
    ("task", "lengths", "labels", "usable"),
    [
        # 13 frames are too few everywhere.
        ("boundary", (14, 13, 20, 20, 14), "aabba", [0, 2, 3, 4]),
        # A class of one source has no same-class partner, and no case may use it.
        ("boundary", (20, 20, 20), "aab", []),
        ("boundary", (20, 20, 20, 20, 20), "aabbc", [0, 1, 2, 3]),
        ("same-class", (20, 20, 20), "aab", [0, 1]),
        ("diff-class", (20, 20, 20), "aab", [0, 1, 2]),
        ("diff-class", (20, 20), "aa", []),
        # A source that is too short is no partner either.
        ("same-class", (20, 13), "aa", []),
        ("diff-speed", (20, 13), "aa", [0]),
        # " " stands for an unknown class: two of them need not be alike, nor differ from a known one.
        ("boundary", (20, 20, 20, 20, 20, 20), "aabb  ", [0, 1, 2, 3]),
        ("diff-class", (20, 20, 20), "a  ", []),
        ("same-class", (20, 20), "  ", []),
        ("diff-speed", (20, 20), "  ", [0, 1]),
        ("regression-same-class", (20, 20), "  ", []),
        ("action", (20, 20, 20, 20), "ab c", [0, 1]),
        ("arrow-of-time", (20,), " ", [0]),
        ("speed", (20, 15, 14), "abc", [0, 1]),
    ],
)
def test_usable_sources(task, lengths, labels, usable):
    catalog = SourceCatalog(unknown_videos(*lengths, labels=labels))
    assert make_pretext(task, SynthesisConfig(), CLASSES).usable(catalog).tolist() == usable


def test_data_set_without_a_usable_source_says_what_is_missing():
    with pytest.raises(
        ValueError, match=r"none of the 2 sources .* 14 frames, same-class boundaries two sources"
    ):
        PretextClips(
            unknown_videos(20, 20, labels="ab"),
            make_pretext("boundary", SynthesisConfig()),
            small_extractor(),
        )


def test_impossible_tasks_are_refused():
    with pytest.raises(ValueError, match="'jigsaw' is unknown; choose one of boundary, diff-class"):
        make_pretext("jigsaw", SynthesisConfig())
    with pytest.raises(ValueError, match=re.escape("at least two classes, got ['walk']")):
        ActionClassification(SynthesisConfig(), ("walk",))
    with pytest.raises(ValueError, match="speed above 1"):
        make_pretext("speed", SynthesisConfig(speeds=(0.5,))).usable(
            SourceCatalog(unknown_videos(20, 20, 20, 20))
        )


# Regression target


@pytest.mark.parametrize(
    ("num_frames", "boundary_frame", "variance", "exponents"),
    [
        # mu = 3.5, tau = 4: -(t - mu)^2 / 8.
        (8, 4, 4, [-12.25 / 8, -6.25 / 8, -2.25 / 8, -0.25 / 8, -0.25 / 8, -2.25 / 8, -6.25 / 8, -12.25 / 8]),
        (4, 1, 2, [-0.25 / 4, -0.25 / 4, -2.25 / 4, -6.25 / 4]),
    ],
)
def test_heatmap_is_the_gaussian_of_section_3_3(num_frames, boundary_frame, variance, exponents):
    heatmap = boundary_heatmap(num_frames, boundary_frame, variance)
    assert heatmap.dtype == np.float32
    np.testing.assert_allclose(heatmap, np.exp(exponents), rtol=1e-6)


# Models


@pytest.mark.parametrize("task", TASKS)
def test_every_task_trains_the_model_of_its_head(task, tmp_path_factory):
    import torch
    from transformers import ResNetConfig

    from bsp_hf import BSPConfig
    from bsp_hf.encoder.modeling_bsp import BSPForBoundaryClassification, BSPForBoundaryRegression

    pretext = make_pretext(task, SynthesisConfig(), CLASSES)
    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    config = BSPConfig(backbone_config=backbone, id2label=dict(enumerate(pretext.label_names)) or None)
    head = BSPForBoundaryRegression if pretext.head == "regression" else BSPForBoundaryClassification
    model = head(config)
    catalog = SourceCatalog(unknown_videos(40, 50, 60, 45))
    targets = []
    for case in range(pretext.num_cases):
        plan = pretext.plan(case, 0, catalog, np.random.default_rng(0))
        targets.append(pretext.target(case, 0, plan, catalog))
    labels = torch.as_tensor(np.stack(targets))
    output = model(torch.rand(len(targets), 8, 3, 16, 16), labels=labels)
    output.loss.backward()
    assert torch.isfinite(output.loss)
    expected_shape = (
        (len(targets), 8) if pretext.head == "regression" else (len(targets), len(pretext.label_names))
    )
    assert output.logits.shape == expected_shape


# A new task


def test_the_documented_extension_runs_through_the_data_set(tmp_path, monkeypatch):
    page = Path(__file__).resolve().parents[2] / "docs" / "add_a_pretext.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.splitlines()) < 60
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "documented_pretext.py").write_text(code)

    pretext = make_pretext("documented_pretext:PlaybackRate", SynthesisConfig())
    folder = render_classes(tmp_path, {"bend": (29, 28), "run": (40,)}, size=(48, 36))
    clips = PretextClips(counted_sources(folder), pretext, small_extractor())
    assert clips.left_out == 1 and len(clips) == 4 * 2
    for index in range(len(clips)):
        draw = clips.plan(index)
        assert (np.diff(draw.plan.frames[0]) == (1, 2, 3, 4)[draw.case]).all()
        item = clips[index]
        assert item["labels"] == draw.case
        assert item["pixels"].shape == (8, 3, 32, 32)


def test_the_example_of_a_task_in_a_file_shows_every_order_of_every_source(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))
    example = Path(__file__).resolve().parents[2] / "examples" / "clip_order.py"
    assert len(example.read_text().splitlines()) < 60
    pretext = make_pretext(f"{example}:ClipOrder", SynthesisConfig())
    folder = render_classes(tmp_path, {"bend": (8, 7), "run": (12,)}, size=(48, 36))
    clips = PretextClips(counted_sources(folder), pretext, small_extractor())
    assert clips.left_out == 1 and len(clips) == 6 * 2
    assert pretext.label_names == ("123", "132", "213", "231", "312", "321")
    for index in range(len(clips)):
        draw = clips.plan(index)
        frames = draw.plan.frames[0] - draw.plan.frames[0].min()
        parts = {"1": [0, 1, 2], "2": [3, 4, 5], "3": [6, 7]}
        assert frames.tolist() == [f for part in pretext.label_names[draw.case] for f in parts[part]]
        assert clips[index]["labels"] == draw.case
    # Found again by name, which is how another process unpickles it.
    assert type(pickle.loads(pickle.dumps(pretext))) is type(pretext)


def test_the_example_of_balanced_actions_shows_every_class_equally_often(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))
    example = Path(__file__).resolve().parents[2] / "examples" / "balanced_actions.py"
    pretext = make_pretext(f"{example}:BalancedActions", SynthesisConfig(), ("bend", "run"))
    folder = render_classes(tmp_path, {"bend": (30, 7, 31, 32), "run": (33,)}, size=(48, 36))
    clips = PretextClips(counted_sources(folder), pretext, small_extractor())
    assert clips.left_out == 1
    drawn = [(clips.plan(index).anchor, clips[index]["labels"]) for index in range(len(clips))]
    labels = [clips.catalog.sources[anchor].label for anchor, _ in drawn]
    assert [label for _, label in drawn] == [0, 0, 0, 1, 1, 1]
    assert labels == ["bend"] * 3 + ["run"] * 3
    assert len({clips.catalog.sources[anchor].path for anchor, _ in drawn}) == 4


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        ("boundaries", ValueError, r"'boundaries' is unknown; choose one of boundary, .*module:Class"),
        ("numpy:ndarray", ValueError, "names no class derived from"),
        ("numpy:nothing", ValueError, "names no class derived from"),
        ("no_such_module:Task", ImportError, "no_such_module"),
        ("no/such/file.py:Task", OSError, r"there is no file .*file\.py"),
    ],
)
def test_a_task_that_cannot_be_found_says_what_may_be_asked_for(task, error, message, capsys):
    with pytest.raises(error, match=message):
        find_pretext(task)
    with pytest.raises(SystemExit):
        parse_settings(PretrainingSettings, ["--output_dir", "x", "--task", task])
    assert "argument --task:" in capsys.readouterr().err
