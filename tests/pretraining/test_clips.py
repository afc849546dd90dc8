"""The data set of clips: `(seed, epoch, index)` fixes a clip, whoever reads it, whenever and in any order."""

import logging
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clip_folder import (
    counted_sources,
    read_numbers,
    render_classes,
    render_video,
    small_extractor,
    unknown_videos,
)
from support.source_catalogs import paper_catalog
from torch.utils.data import DataLoader

from bsp_hf import BoundaryType, PretextClips, SynthesisConfig
from bsp_hf.encoder.video_source import VideoDecodeError
from bsp_hf.pretraining.augmentation import SpatialAugmentation
from bsp_hf.pretraining.drawing.presets import SYNTHESIS_PRESETS
from bsp_hf.pretraining.frame_store import FrameStore
from bsp_hf.pretraining.pretexts import make_pretext
from bsp_hf.training.sampler import EpochSampler

DIFF_CLASS, SAME_CLASS, DIFF_SPEED, SAME_SPEED = BoundaryType


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return counted_sources(render_classes(tmp_path_factory.mktemp("clips"), size=(48, 48)))


def boundary_clips(sources, *, task: str = "boundary", size: int = 48, **options) -> PretextClips:
    return PretextClips(sources, make_pretext(task, SynthesisConfig()), small_extractor(size), **options)


def as_tuple(item: dict) -> tuple:
    return item["pixels"].numpy().tobytes(), np.asarray(item["labels"]).tobytes()


# What a clip shows


def test_clips_show_the_planned_frames_of_the_planned_sources(sources):
    clips = boundary_clips(sources)
    stores = FrameStore()
    for index in range(len(clips)):
        clip = clips.read(index)
        kind, plan = BoundaryType(clip.target), clip.draw.plan
        assert clip.frames.shape == (8, 48, 48, 3) and clip.frames.flags.c_contiguous
        numbers = read_numbers(clip.frames)
        if kind in (DIFF_SPEED, SAME_SPEED):
            assert numbers == plan.frames[0].tolist()
        else:
            # tau = 4: with epsilon = 1 frame 3 is half and half, frame 4 the second video's second.
            first, second = (frames.tolist() for frames in plan.frames)
            fade = plan.blend_half_width
            assert numbers[: 4 - fade] == first[: 4 - fade]
            assert numbers[4:] == second[fade:]
            assert fade == (1 if kind is DIFF_CLASS else 0)
            # The sources are told apart by their pictures.
            again = stores.read(clips.catalog.sources[plan.sources[1]], plan.frames[1])
            np.testing.assert_array_equal(clip.frames[4:], again[fade:])
            if fade:
                before = stores.read(clips.catalog.sources[plan.sources[0]], plan.frames[0])
                half = np.rint((before[3].astype(float) + again[0]) / 2)
                np.testing.assert_array_equal(clip.frames[3], half)


def test_items_are_channels_first_pixels_and_a_label(sources):
    clips = boundary_clips(sources)
    for index in (0, 7, len(clips) - 1):
        item, clip = clips[index], clips.read(index)
        assert item["pixels"].dtype == torch.uint8 and item["labels"] == clip.target
        np.testing.assert_array_equal(item["pixels"].permute(0, 2, 3, 1).numpy(), clip.frames)
    heatmap = boundary_clips(sources, task="regression")[0]["labels"]
    assert heatmap.dtype == torch.float32 and heatmap.shape == (8,)


def test_an_epoch_runs_through_the_sources_case_by_case(sources):
    clips = boundary_clips(sources, case_repeats=[1, 0, 2, 1])
    assert len(clips) == 4 * len(sources)
    cases = [clips.plan(index).case for index in range(len(clips))]
    assert cases == [case for case in (0, 2, 2, 3) for _ in sources]
    assert [clips.plan(index).anchor for index in range(len(clips))] == 4 * list(range(len(sources)))


@pytest.mark.parametrize("case_repeats", [[1, 1], [0, 0, 0, 0], [1, 1, 1, -1], []])
def test_impossible_case_repeats_are_refused(sources, case_repeats):
    with pytest.raises(ValueError, match="case_repeats"):
        boundary_clips(sources, case_repeats=case_repeats)


def test_sources_that_are_too_short_are_left_out_and_counted():
    clips = boundary_clips(unknown_videos(20, 13, 20, 20, 20, labels="aaabb"))
    assert clips.left_out == 1 and len(clips) == 16


def test_indices_outside_the_data_set_are_refused(sources):
    clips = boundary_clips(sources)
    for index in (-1, len(clips)):
        with pytest.raises(IndexError, match=f"index {index} is outside a data set of 24 clips"):
            clips[index]


# Randomness


def test_seed_epoch_and_index_each_change_the_clip(sources):
    clips, other = boundary_clips(sources), boundary_clips(sources, seed=1)
    first = [as_tuple(clips[index]) for index in range(12)]
    clips.set_epoch(1)
    assert not set(first) & {as_tuple(clips[index]) for index in range(12)}
    assert not set(first) & {as_tuple(other[index]) for index in range(12)}
    clips.set_epoch(0)
    assert [as_tuple(clips[index]) for index in reversed(range(12))] == first[::-1]


def test_augmentation_is_drawn_once_for_each_source_of_a_clip(sources):
    calls = []

    class Recorded(SpatialAugmentation):
        def __call__(self, frames, rng):
            calls.append(len(frames))
            return super().__call__(frames, rng)

    clips = boundary_clips(sources, size=32, augmentation=Recorded(32))
    expected = {DIFF_CLASS: [5, 5], SAME_CLASS: [4, 4], DIFF_SPEED: [8], SAME_SPEED: [8]}
    for index in range(len(clips)):
        calls.clear()
        clip = clips.read(index)
        assert calls == expected[clip.target]
        assert clip.frames.shape == (8, 32, 32, 3)
    assert as_tuple(clips[5]) == as_tuple(clips[5])


def test_augmentation_does_not_change_what_is_drawn_before_it(sources):
    plain, augmented = boundary_clips(sources), boundary_clips(sources, augmentation=SpatialAugmentation(48))
    for index in range(len(plain)):
        for a, b in zip(plain.plan(index).plan.frames, augmented.plan(index).plan.frames, strict=True):
            np.testing.assert_array_equal(a, b)


def read_epochs(clips: PretextClips, num_workers: int, epochs: int = 2, **options) -> list[list[tuple]]:
    """Read epochs through one loader, as training does."""
    sampler = EpochSampler(len(clips), 3)
    loader = DataLoader(
        clips, 5, sampler=sampler, num_workers=num_workers, persistent_workers=num_workers > 0, **options
    )
    read = []
    for epoch in range(epochs):
        clips.set_epoch(epoch)
        sampler.set_epoch(epoch)
        batches = list(loader)
        pixels = torch.cat([batch["pixels"] for batch in batches])
        labels = torch.cat([batch["labels"] for batch in batches])
        read.append([as_tuple({"pixels": p, "labels": y}) for p, y in zip(pixels, labels, strict=True)])
    return read


def expected_epochs(clips: PretextClips, epochs: int = 2) -> list[list[tuple]]:
    """The same clips one by one, in another order of access."""
    read = []
    for epoch in range(epochs):
        clips.set_epoch(epoch)
        sampler = EpochSampler(len(clips), 3)
        sampler.set_epoch(epoch)
        items = {index: as_tuple(clips[index]) for index in range(len(clips))}
        read.append([items[index] for index in sampler])
    return read


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_any_number_of_workers_reads_the_same_clips_in_every_epoch(sources, num_workers):
    def clips():
        return boundary_clips(sources, size=32, augmentation=SpatialAugmentation(32), seed=7)

    read = read_epochs(clips(), num_workers)
    assert read == expected_epochs(clips())
    assert not set(read[0]) & set(read[1])


DRAWN = {name: config for name, config in SYNTHESIS_PRESETS.items() if not config.is_consecutive}
# At difficulties below 1, so that some closings are on and others off.
DRAWN["ramp"] = replace(DRAWN["robust"], ramp_epochs=4.0, num_changes=2)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("name", DRAWN)
def test_any_number_of_workers_reads_the_same_clips_of_every_preset(sources, name, num_workers):
    def clips():
        pretext = make_pretext("boundary", DRAWN[name])
        return PretextClips(sources, pretext, small_extractor(32), SpatialAugmentation(32), seed=7)

    read = read_epochs(clips(), num_workers)
    assert read == expected_epochs(clips())
    assert not set(read[0]) & set(read[1])


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(sorted(DRAWN)),
    seed=st.integers(0, 2**31),
    epoch=st.integers(0, 9),
    index=st.integers(0, 19),
    others=st.lists(st.integers(0, 19), max_size=4),
)
def test_seed_epoch_and_index_fix_a_plan_whatever_was_drawn_before(name, seed, epoch, index, others):
    catalog = paper_catalog(30, 45, 60, 80, 200, labels="aabbb")

    def draw(before):
        clips = PretextClips(
            catalog.sources, make_pretext("boundary", replace(DRAWN[name], partner_choice="random")),
            small_extractor(), seed=seed,
        )  # fmt: skip
        for other in before:
            clips.set_epoch(other % 3)
            clips.plan(other)
        clips.set_epoch(epoch)
        return pickle.loads(pickle.dumps(clips)).plan(index)

    one, two = draw(others), draw([])
    assert (one.case, one.anchor) == (two.case, two.anchor) == divmod(index, 5)
    assert [f.tolist() for f in one.plan.frames] == [f.tolist() for f in two.plan.frames]
    assert vars(one.plan) | {"frames": ()} == vars(two.plan) | {"frames": ()}
    assert one.rng.random() == two.rng.random()


def test_a_ramp_begins_with_plain_clips_and_ends_with_closed_ones(sources):
    config = replace(SYNTHESIS_PRESETS["robust"], ramp_epochs=4.0)
    clips = PretextClips(sources, make_pretext("boundary", config), small_extractor(32), seed=3)
    shares = []
    for epoch in range(5):
        clips.set_epoch(epoch)
        shares.append(np.mean([len(clips.plan(index).plan.views) > 0 for index in range(len(clips))]))
    assert shares[0] < 0.5 and shares[-1] == 1.0 and shares[0] < np.mean(shares[1:4]) < 1
    # Held-out clips do not ramp.
    pretext = make_pretext("boundary", config.for_evaluation())
    held_out = PretextClips(sources, pretext, small_extractor(32))
    assert all(held_out.plan(index).plan.views for index in range(len(held_out)))


def test_similar_partners_are_found_by_one_frame_of_each_source(sources):
    pretext = make_pretext("boundary", replace(SYNTHESIS_PRESETS["robust"], num_alike=1))
    clips = PretextClips(sources, pretext, small_extractor(32))
    looks = clips.catalog.appearance
    assert looks.shape == (6, 48) and np.isfinite(looks).all()
    for number, source in enumerate(clips.catalog.sources):
        frame = FrameStore().read(source, np.array([source.num_frames // 2]))[0]
        # The upper left of 4 x 4 blocks, in red.
        assert looks[number, 0] == pytest.approx(frame[:12, :12, 0].mean() / 255, abs=1e-5)
    broken = PretextClips(sources, pretext, small_extractor(32), store=FailingStore("run/0.mp4"))
    is_known = np.isfinite(broken.catalog.appearance).all(1)
    assert [s.group for s, known in zip(broken.catalog.sources, is_known, strict=True) if not known] == [
        "run/0.mp4"
    ]


@pytest.mark.slow
def test_spawned_workers_read_the_same_clips_too(sources):
    clips = boundary_clips(sources, seed=7)
    assert read_epochs(clips, 1, multiprocessing_context="spawn") == expected_epochs(clips)


def test_a_copy_of_the_data_set_draws_the_same_clips(sources):
    clips = boundary_clips(sources)
    clips.set_epoch(4)
    copy = pickle.loads(pickle.dumps(clips))
    assert as_tuple(copy[3]) == as_tuple(clips[3])
    copy.set_epoch(5)
    assert as_tuple(copy[3]) != as_tuple(clips[3])


# Videos that break where a clip needs them


class FailingStore(FrameStore):
    """Fails on some videos."""

    def __init__(self, *names: str):
        super().__init__()
        self.names = names

    def read(self, source, frames):
        if source.group in self.names:
            raise VideoDecodeError(str(source.path), "frame 7 does not decode")
        return super().read(source, frames)


def test_another_source_replaces_one_that_does_not_decode(sources, caplog):
    store = FailingStore("run/0.mp4")
    clips, untouched = boundary_clips(sources, store=store), boundary_clips(sources)
    replaced = 0
    with caplog.at_level(logging.WARNING, "bsp_hf"):
        for index in range(len(clips)):
            clip, plan = clips.read(index), untouched.plan(index)
            assert clip.target == plan.case
            names = [clips.catalog.sources[source].group for source in plan.plan.sources]
            assert clips[index]["replaced"] == (clip.num_failed > 0) == ("run/0.mp4" in names)
            if "run/0.mp4" in names:
                replaced += 1
                shown = [clips.catalog.sources[source].group for source in clip.draw.plan.sources]
                assert "run/0.mp4" not in shown
                assert as_tuple(clips[index]) == as_tuple(clips[index])
            else:
                assert as_tuple(clips[index]) == as_tuple(untouched[index])
    assert replaced >= 4 and "run/0.mp4: frame 7 does not decode" in caplog.text


def cut_to_three_frames(path: Path) -> None:
    render_video(path, 3, size=(64, 48))


@pytest.mark.parametrize("keeps_frames", [False, True])
@pytest.mark.parametrize("change", [Path.unlink, cut_to_three_frames])
def test_another_source_replaces_one_that_disappears_or_shrinks(change, keeps_frames, tmp_path, caplog):
    sources = counted_sources(render_classes(tmp_path / "clips", size=(64, 48)))
    clips = boundary_clips(sources, store=FrameStore(tmp_path / "frames" if keeps_frames else None))
    change(tmp_path / "clips" / "run" / "0.mp4")
    with caplog.at_level(logging.WARNING, "bsp_hf"):
        for index in range(len(clips)):
            shown = clips.read(index).draw.plan.sources
            assert "run/0.mp4" not in [clips.catalog.sources[source].group for source in shown]
    assert "another source replaces one" in caplog.text and "0.mp4" in caplog.text


def test_items_know_their_index(sources):
    assert boundary_clips(sources)[5]["index"] == 5


def test_shots_of_one_video_are_decoded_together(sources):
    asked = []

    class Spy(FrameStore):
        def read(self, source, frames):
            asked.append((source.group, len(frames)))
            return super().read(source, frames)

    clips = boundary_clips(sources, store=Spy())
    plan = clips.plan(0)
    ahead, behind, other = np.array([3, 4]), np.array([9, 4, 5]), np.array([0])
    plan = plan._replace(plan=replace(plan.plan, sources=(1, 0, 1), frames=(ahead, other, behind), cuts=()))
    shots = clips._read_shots(plan.plan)
    assert [read_numbers(shot) for shot in shots] == [[3, 4], [0], [9, 4, 5]]
    groups = [source.group for source in clips.catalog.sources]
    assert asked == [(groups[1], 5), (groups[0], 1)]


def test_rotten_data_set_raises_instead_of_searching_for_ever(sources):
    clips = boundary_clips(sources, store=FailingStore(*(source.group for source in sources)))
    with pytest.raises(VideoDecodeError, match="frame 7 does not decode"):
        clips[0]
