"""The rendered default data: deterministic, labelled by motion alone, whole, with true boundaries."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from bsp_hf.pretraining.rendering import clips as rendered_clips
from bsp_hf.pretraining.rendering import files as rendered_files
from bsp_hf.pretraining.rendering.clips import (
    MANIFEST_NAME,
    RenderedBoundary,
    render_action_clips,
    render_long_video,
    rendered_cache_folder,
)
from bsp_hf.pretraining.rendering.files import write_h264_video
from bsp_hf.pretraining.rendering.motions import JOINABLE_MOTION_NAMES, MOTION_NAMES, Stretch, shot_poses
from bsp_hf.pretraining.rendering.scenes import render_shot

SMALL = {
    "num_clips_per_class": 2,
    "num_held_out_per_class": 1,
    "width": 48,
    "height": 36,
    "min_duration_s": 0.4,
    "max_duration_s": 0.8,
}


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def shoot(*stretches: Stretch, seed=(5,), **size) -> np.ndarray:
    return np.stack(list(render_shot(stretches, seed, **{"width": 64, "height": 48, **size})))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.mp4")}


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory) -> Path:
    return render_action_clips(tmp_path_factory.mktemp("clips") / "small", **SMALL)


# Frames


@pytest.mark.parametrize("motion", MOTION_NAMES)
def test_every_motion_moves_several_pixels_a_frame_and_never_stands_still(motion):
    frames = shoot(Stretch(motion, 40), width=84, height=64).astype(int)
    assert frames.shape == (40, 64, 84, 3)
    changed = (np.abs(np.diff(frames, axis=0)).max(axis=-1) > 20).mean(axis=(1, 2))
    # Only "fall" leaves the picture empty for moments.
    assert np.median(changed) > 0.005 or motion == "fall"
    assert changed.max() > 0.02


def test_objects_cross_about_one_picture_height_a_second():
    for motion in ("slide", "orbit", "zigzag", "bounce", "crossing", "fall", "swing"):
        for seed in range(5):
            x, y = shot_poses([Stretch(motion, 100)], [seed], fps=25.0)[0, :, :2].T
            pixels_a_frame = np.median(np.hypot(np.diff(x), np.diff(y))) * 64
            assert 1.5 < pixels_a_frame < 7, (motion, seed, pixels_a_frame)


def test_pace_inside_a_clip_wavers_mildly():
    angle = np.unwrap(shot_poses([Stretch("spin", 125)], [3], fps=25.0)[0, :, 2])
    pace = np.abs(np.diff(angle))
    assert 1.1 < np.percentile(pace, 95) / np.percentile(pace, 5) < 2.0


def test_same_seed_gives_same_frames_and_another_seed_others():
    np.testing.assert_array_equal(shoot(Stretch("orbit", 5)), shoot(Stretch("orbit", 5)))
    assert (shoot(Stretch("orbit", 5)) != shoot(Stretch("orbit", 5), seed=(6,))).mean() > 0.5


def test_frames_do_not_depend_on_how_long_the_shot_goes_on():
    np.testing.assert_array_equal(shoot(Stretch("shake", 6)), shoot(Stretch("shake", 20))[:6])


@pytest.mark.parametrize("after", [Stretch("slide", 10, speed=2.0), Stretch("orbit", 10)])
def test_change_without_a_cut_starts_at_its_frame_and_does_not_jump(after):
    for seed in range(4):
        plain = shot_poses([Stretch("slide", 30)], [seed], fps=25.0)
        changed = shot_poses([Stretch("slide", 20), after], [seed], fps=25.0)
        np.testing.assert_array_equal(changed[:, :21], plain[:, :21])
        assert np.abs(changed[:, 24:] - plain[:, 24:]).max() > 0.02
        # Joined without the blend, places up to 0.9 apart would follow each other.
        assert np.abs(np.diff(changed[..., :2], axis=1)).max() < 0.2


def test_spinning_object_does_not_unwind_its_turns_when_it_changes_over():
    poses = shot_poses([Stretch("spin", 200), Stretch("slide", 20)], [1], fps=25.0)
    assert np.abs(np.diff(poses[0, 200:, 2])).max() < 1.2


def test_speed_change_scales_the_movement():
    slow, fast = (
        shot_poses([Stretch("spin", 10), Stretch("spin", 30, speed)], [2], fps=25.0)[0, 10:, 2]
        for speed in (1.0, 2.0)
    )
    # Sway adds at most 0.12 rad to either end of a movement of several radians.
    assert np.abs(fast[-1] - fast[0]) == pytest.approx(2 * np.abs(slow[-1] - slow[0]), abs=0.8)


@pytest.mark.parametrize(
    ("stretches", "size", "message"),
    [
        ([], {}, "at least one stretch"),
        ([Stretch("juggle", 5)], {}, "Unknown motion 'juggle'"),
        ([Stretch("spin", 0)], {}, "num_frames of at least 1"),
        ([Stretch("spin", 5, speed=0.0)], {}, "speed above 0"),
        ([Stretch("spin", 5), Stretch("crossing", 5)], {}, "without a cut"),
        ([Stretch("spin", 5)], {"width": 30}, "too small"),
        ([Stretch("spin", 5)], {"fps": 0}, "fps must be above 0"),
    ],
)
def test_impossible_shots_are_refused_before_the_first_frame(stretches, size, message):
    with pytest.raises(ValueError, match=message):
        render_shot(stretches, [0], **size)


# Clip folders


def test_folder_holds_balanced_classes_in_both_splits(small_folder):
    for split, count in (("train", 2), ("test", 1)):
        folders = sorted((small_folder / split).iterdir())
        assert [folder.name for folder in folders] == sorted(MOTION_NAMES)
        assert all(len(list(folder.glob("*.mp4"))) == count for folder in folders)
    assert len(MOTION_NAMES) >= 8
    assert not list(small_folder.rglob("*.tmp"))


def test_files_decode_to_the_promised_frames(small_folder):
    lengths = set()
    for path in small_folder.rglob("*.mp4"):
        frames = decode(path)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate == 25
            assert stream.frames == len(frames)
        assert frames.shape[1:] == (36, 48, 3)
        assert 10 <= len(frames) <= 20
        lengths.add(len(frames))
    assert len(lengths) > 3


def test_decoded_clip_shows_the_frames_that_were_drawn(small_folder):
    label = MOTION_NAMES.index("slide")
    decoded = decode(small_folder / "test" / "slide" / "slide_0000.mp4")
    drawn = shoot(Stretch("slide", len(decoded)), seed=(0, 1, label, 0), width=48, height=36)
    difference = np.abs(decoded.astype(int) - drawn).mean(axis=(1, 2, 3))
    assert difference.max() < 12
    # It is also that frame of the drawing and not its neighbour.
    assert difference.mean() < np.abs(decoded[1:].astype(int) - drawn[:-1]).mean()


def test_no_two_clips_are_alike(small_folder):
    first_frames = [decode(path)[0].astype(int) for path in sorted(small_folder.rglob("*.mp4"))]
    for index, one in enumerate(first_frames):
        assert all(np.abs(one - other).mean() > 3 for other in first_frames[:index])


def test_class_cannot_be_read_from_colour():
    # 12 training and 8 held-out drawings of each of the ten classes, two moments each.
    drawings = [
        [shoot(Stretch(motion, 2), seed=(1, 0, label, index)) for index in range(20)]
        for label, motion in enumerate(MOTION_NAMES)
    ]
    means = np.array(drawings).mean(axis=(2, 3, 4))
    centroids = means[:, :12].mean(axis=1)
    held_out = means[:, 12:]
    nearest = np.linalg.norm(held_out[:, :, None] - centroids, axis=-1).argmin(axis=-1)
    accuracy = (nearest == np.arange(len(MOTION_NAMES))[:, None]).mean()
    # Chance is 0.1; with 80 clips three standard deviations are 0.1.
    assert accuracy < 0.2


def test_second_call_renders_nothing(small_folder, monkeypatch):
    monkeypatch.setattr(rendered_clips, "write_h264_video", lambda *_, **__: pytest.fail("rendered again"))
    assert render_action_clips(small_folder, **SMALL) == small_folder


def test_interrupted_render_leaves_nothing_and_the_next_gives_the_same_files(
    small_folder, tmp_path, monkeypatch
):
    written = []

    def write_or_stop(path, frames, **settings):
        if len(written) == 7:
            raise KeyboardInterrupt
        written.append(path)
        return write_h264_video(path, frames, **settings)

    monkeypatch.setattr(rendered_clips, "write_h264_video", write_or_stop)
    with pytest.raises(KeyboardInterrupt):
        render_action_clips(tmp_path / "clips", **SMALL)
    assert len(written) == 7 and not list(tmp_path.iterdir())
    monkeypatch.undo()
    render_action_clips(tmp_path / "clips", **SMALL)
    assert contents(tmp_path / "clips") == contents(small_folder)


def test_lost_and_truncated_clips_are_rendered_again(small_folder, tmp_path):
    folder = render_action_clips(tmp_path / "clips", **SMALL)
    lost, cut_short = folder / "train/spin/spin_0001.mp4", folder / "test/fall/fall_0000.mp4"
    lost.unlink()
    cut_short.write_bytes(cut_short.read_bytes()[:500])
    render_action_clips(folder, **SMALL)
    assert contents(folder) == contents(small_folder)


def test_encoding_that_fails_leaves_no_file(tmp_path):
    def frames():
        yield np.zeros((36, 48, 3), np.uint8)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_h264_video(tmp_path / "a.mp4", frames())
    assert not list(tmp_path.iterdir())


def test_frames_that_h264_cannot_hold_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no frame"):
        write_h264_video(tmp_path / "a.mp4", [])
    with pytest.raises(ValueError, match="even width and height, got 48x35"):
        write_h264_video(tmp_path / "a.mp4", [np.zeros((35, 48, 3), np.uint8)])
    assert not list(tmp_path.iterdir())


def test_missing_encoder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(rendered_files, "_CODEC", "libx264_that_is_not_there")
    with pytest.raises(RuntimeError, match="has no libx264_that_is_not_there"):
        write_h264_video(tmp_path / "a.mp4", [np.zeros((36, 48, 3), np.uint8)])
    assert not list(tmp_path.iterdir())


def test_folder_of_other_settings_or_other_files_is_refused_untouched(small_folder, tmp_path):
    before = contents(small_folder)
    with pytest.raises(FileExistsError, match="other settings"):
        render_action_clips(small_folder, **{**SMALL, "seed": 1})
    assert contents(small_folder) == before
    (tmp_path / "holiday.mp4").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="other files"):
        render_action_clips(tmp_path, **SMALL)
    assert (tmp_path / "holiday.mp4").read_bytes() == b"mine"


def test_default_folder_follows_hf_home_and_the_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    tiny = {**SMALL, "num_clips_per_class": 1, "num_held_out_per_class": 0, "max_duration_s": 0.4}
    first, other = render_action_clips(**tiny), render_action_clips(**tiny, seed=1)
    assert rendered_cache_folder() == tmp_path / "hf" / "bsp_hf" / "rendered_clips"
    assert first.parent == other.parent == rendered_cache_folder()
    assert first != other
    assert render_action_clips(**tiny) == first
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert rendered_cache_folder() == tmp_path / "xdg" / "bsp_hf" / "rendered_clips"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert rendered_cache_folder() == Path("~/.cache/bsp_hf/rendered_clips").expanduser()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed must not be negative"),
        ({"num_clips_per_class": -1}, "num_clips_per_class must not be negative"),
        ({"fps": 0}, "fps must be at least 1"),
        ({"width": 47}, "width must be even"),
        ({"height": 30}, "height must be even and at least 32"),
        ({"min_duration_s": 2.0}, "not exceed the longest"),
        ({"min_duration_s": 0.0}, "hold a frame"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_written(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        render_action_clips(tmp_path / "clips", **{**SMALL, **wrong})
    assert not (tmp_path / "clips").exists()


@pytest.mark.slow
def test_several_processes_give_the_same_files(small_folder, tmp_path):
    folder = render_action_clips(tmp_path / "clips", **SMALL, num_processes=2)
    assert contents(folder) == contents(small_folder)


# The long video

LONG = {"width": 64, "height": 48, "min_action_s": 0.6, "max_action_s": 1.2}


@pytest.fixture(scope="module")
def long_video(tmp_path_factory) -> tuple[Path, tuple[RenderedBoundary, ...]]:
    path = tmp_path_factory.mktemp("long") / "deep" / "long.mp4"
    return path, render_long_video(path, 3, 13, **LONG)


def test_long_video_has_every_kind_of_boundary_where_its_label_says(long_video):
    path, boundaries = long_video
    frames = decode(path).astype(int)
    assert len(boundaries) == 12
    assert sorted({boundary.kind for boundary in boundaries}) == [
        "action_change",
        "new_action_cut",
        "same_action_cut",
        "speed_change",
    ]
    change = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    cut_frames = {b.frame for b in boundaries if b.kind.endswith("_cut")}
    # A cut is the only thing that changes most of the picture from one frame to the next.
    assert {index + 1 for index in np.flatnonzero(change > 18)} == cut_frames
    for boundary in boundaries:
        assert boundary.time_s == boundary.frame / 25
        same_motion = boundary.motion_before == boundary.motion_after
        assert same_motion == (boundary.kind in ("same_action_cut", "speed_change"))
        if boundary.kind == "speed_change":
            assert abs(np.log(boundary.speed_after / boundary.speed_before)) > np.log(1.75)
        if boundary.kind == "action_change":
            assert {boundary.motion_before, boundary.motion_after} <= set(JOINABLE_MOTION_NAMES)


def test_truth_beside_the_long_video_tiles_it(long_video):
    path, boundaries = long_video
    truth = json.loads((path.parent / "long.boundaries.json").read_text())
    assert truth["video"] == "long.mp4"
    assert truth["num_frames"] == len(decode(path))
    assert truth["duration_s"] == truth["num_frames"] / 25
    assert [entry["time_s"] for entry in truth["boundaries"]] == [b.time_s for b in boundaries]
    segments = truth["segments"]
    assert segments[0]["start_s"] == 0 and segments[-1]["end_s"] == truth["duration_s"]
    for before, after, boundary in zip(segments[:-1], segments[1:], boundaries, strict=True):
        assert before["end_s"] == after["start_s"] == boundary.time_s
        assert (before["label"], after["label"]) == (boundary.motion_before, boundary.motion_after)
    assert all(0.6 - 1e-9 <= s["end_s"] - s["start_s"] <= 1.2 + 1e-9 for s in segments)


def test_long_video_is_rendered_once(long_video, monkeypatch):
    path, boundaries = long_video
    monkeypatch.setattr(rendered_clips, "write_h264_video", lambda *_, **__: pytest.fail("rendered again"))
    assert render_long_video(path, 3, 13, **LONG) == boundaries


def test_long_video_that_was_interrupted_is_rendered_again(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(rendered_clips, "write_h264_video", stop)
    with pytest.raises(KeyboardInterrupt):
        render_long_video(tmp_path / "a.mp4", 0, 2, **LONG)
    monkeypatch.undo()
    render_long_video(tmp_path / "a.mp4", 0, 2, **LONG)
    truth = json.loads((tmp_path / "a.boundaries.json").read_text())
    assert len(decode(tmp_path / "a.mp4")) == truth["num_frames"]


def test_other_videos_are_never_overwritten(long_video, tmp_path):
    path, _ = long_video
    with pytest.raises(FileExistsError, match="another video"):
        render_long_video(path, 4, 13, **LONG)
    (tmp_path / "mine.mp4").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="another video"):
        render_long_video(tmp_path / "mine.mp4", 0, 2, **LONG)
    with pytest.raises(ValueError, match="num_actions must be at least 1"):
        render_long_video(tmp_path / "none.mp4", 0, 0, **LONG)


def test_plan_joins_only_what_can_be_joined_for_many_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(rendered_clips, "write_h264_video", lambda *_, **__: 0)
    for seed in range(60):
        boundaries = render_long_video(tmp_path / f"{seed}.mp4", seed, 9, **LONG)
        assert sorted(b.kind for b in boundaries[:4]) == sorted({b.kind for b in boundaries[4:]})
        for boundary in boundaries:
            if boundary.kind == "action_change":
                assert {boundary.motion_before, boundary.motion_after} <= set(JOINABLE_MOTION_NAMES)


def test_damaged_manifest_is_not_trusted(small_folder, tmp_path):
    (tmp_path / MANIFEST_NAME).write_text("{broken")
    with pytest.raises(FileExistsError, match="other settings"):
        render_action_clips(tmp_path, **SMALL)
