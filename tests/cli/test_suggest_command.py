"""`bsp-hf suggest` and `bsp-hf annotations`: proposals for annotation tools, and their corrections."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support.commands import bsp, plain
from support.tiny_localizers import boundary_classifier, render_levels, tiny_extractor

from bsp_hf import FeatureTrack, save_checkpoint_folder
from bsp_hf.localization.annotations.layouts import read_annotations
from bsp_hf.localization.annotations.types import AnnotatedVideo, AnnotationSet, Segment
from bsp_hf.localization.annotations.writing import write_annotations
from bsp_hf.localization.boundaries.correction import fit_boundary_head
from bsp_hf.localization.boundaries.response import pick_boundaries

LEVELS = [20, 200, 40, 180, 60, 220, 30, 190, 50, 210]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("suggest")
    save_checkpoint_folder(boundary_classifier(), tiny_extractor(), home / "model")
    (home / "videos").mkdir()
    for name, levels in (("one", LEVELS), ("two", LEVELS[::-1])):
        render_levels(home / "videos" / f"{name}.mp4", levels)
    return home


def suggest(folder, *words, code=0):
    return bsp("suggest", folder / "videos", "--model", folder / "model", *words, code=code)


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("boris", "all.boris"),
        pytest.param("via", "all.json", marks=pytest.mark.slow),
        pytest.param("elan", "all", marks=pytest.mark.slow),
    ],
)
def test_proposals_are_a_project_of_the_tool(folder, tmp_path, layout, name):
    said = suggest(folder, "--format", layout, "--output", tmp_path / name, "--threshold", 0)
    assert f", {layout}" in said
    files = [tmp_path / name] if (tmp_path / name).is_file() else sorted((tmp_path / name).iterdir())
    found = [video for file in files for video in read_annotations(file, strict=True).videos]
    assert sorted(video.video_id for video in found) == ["one", "two"]
    for video in found:
        assert video.segments[0].start_s == 0 and video.segments[-1].end_s == pytest.approx(10)
        assert {one.label for one in video.segments} == {"segment"}
    assert "exists; delete it" in plain(
        suggest(folder, "--format", layout, "--output", tmp_path / name, code=2)
    )


def test_corrected_segments_stay_and_the_rest_is_learned_from_them(folder, tmp_path):
    kept = tuple(Segment(float(n), n + 1.0, "level") for n in range(6))
    corrected = AnnotatedVideo("one", 10.0, segments=kept, fps=25.0)
    media = {"one": "D:\\elsewhere\\one.mp4"}
    write_annotations(AnnotationSet((corrected,)), tmp_path / "ten.boris", "boris", media)
    said = suggest(folder, "--corrected", tmp_path / "ten.boris", "--output", tmp_path / "rest.boris")
    assert "segments, boris" in said
    found = read_annotations(tmp_path / "rest.boris", strict=True).by_id
    assert [one for one in found["one"].segments if one.label == "level"] == list(kept)
    for video_id, first in (("one", 7), ("two", 1)):
        starts_s = [one.start_s for one in found[video_id].segments if one.start_s >= first - 0.5]
        assert starts_s == pytest.approx(list(range(first, 10)), abs=0.1)


def test_a_video_that_is_broken_or_cut_is_named_and_stops_no_other(folder, tmp_path):
    (tmp_path / "videos").mkdir()
    whole = (folder / "videos/one.mp4").read_bytes()
    (tmp_path / "videos/one.mp4").write_bytes(whole)
    (tmp_path / "videos/broken.mp4").write_bytes(b"no video")
    render_levels(tmp_path / "videos/cut.mkv", LEVELS)
    cut = (tmp_path / "videos/cut.mkv").read_bytes()
    (tmp_path / "videos/cut.mkv").write_bytes(cut[: len(cut) * 2 // 3])
    kept = tuple(Segment(float(n), n + 1.0, "level") for n in range(6))
    corrected = AnnotatedVideo("one", 10.0, segments=kept, fps=25.0)
    write_annotations(AnnotationSet((corrected,)), tmp_path / "ten.boris", "boris")
    for name, words in (("all", ()), ("rest", ("--corrected", tmp_path / "ten.boris"))):
        output = tmp_path / f"{name}.boris"
        options = ("--model", folder / "model", "--output", output)
        said = plain(bsp("suggest", tmp_path / "videos", *options, *words, code=1))
        assert "broken.mp4: it is not a video" in said and "cut.mkv: " in said
        assert sorted(read_annotations(output, strict=True).by_id) == ["cut", "one"]


def test_parts_of_videos_are_proposed_alone(folder, tmp_path):
    table = f"file,id,start_s,end_s\n{folder / 'videos/one.mp4'},part,2.5,6.5\n"
    (tmp_path / "parts.csv").write_text(table, encoding="utf-8")
    edges_s = [2.5, 3.0, 4.0, 5.0, 5.5]
    kept = tuple(Segment(*pair, "level") for pair in pairwise(edges_s))
    write_annotations(
        AnnotationSet((AnnotatedVideo("part", 10.0, segments=kept, fps=25.0),)),
        tmp_path / "few.boris",
        "boris",
    )
    for name, words in (("all", ()), ("rest", ("--corrected", tmp_path / "few.boris"))):
        options = ("--model", folder / "model", "--output", tmp_path / f"{name}.boris")
        bsp("suggest", tmp_path / "parts.csv", *options, *words)
        (video,) = read_annotations(tmp_path / f"{name}.boris", strict=True).videos
        assert video.segments[0].start_s == pytest.approx(2.5, abs=0.05)
        assert video.segments[-1].end_s == pytest.approx(6.5, abs=0.05)


def test_too_few_corrections_and_those_of_other_videos_are_refused(folder, tmp_path):
    for video_id, segments, said in [
        ("one", (Segment(0, 5, "a"),), "too few to learn from; correct about ten segments"),
        ("three", (Segment(0, 5, "a"),), "'three' is not among the videos"),
    ]:
        annotated = AnnotationSet((AnnotatedVideo(video_id, 10.0, segments=segments, fps=25.0),))
        write_annotations(annotated, tmp_path / "few.boris", "boris")
        words = ("--corrected", tmp_path / "few.boris", "--output", tmp_path / "rest.boris")
        assert said in plain(suggest(folder, *words, code=2))
    assert "none of activitynet, boris" in plain(suggest(folder, "--format", "x", "--output", "o", code=2))
    assert not (tmp_path / "rest.boris").exists()


def test_a_head_finds_boundaries_that_the_encoder_does_not_know():
    rng = np.random.default_rng(0)
    edges = np.cumsum(rng.integers(10, 20, 24))
    rows = np.repeat(rng.normal(size=(24, 64)), np.diff(edges, prepend=0), axis=0)
    rows += 0.3 * rng.normal(size=rows.shape)
    grid = {"fps": 20.0, "snippet_frames": 8, "stride_frames": 2}
    track = FeatureTrack.from_rows(rows.astype(np.float32), video_id="made", encoder="made", **grid)
    truth_s = track.centers_s[edges[:-1]] - 0.05
    segments = tuple(Segment(*pair) for pair in zip([0.0, *truth_s[:9]], truth_s[:10], strict=True))
    video = AnnotatedVideo("made", segments=segments)
    guesses = {"made": rng.normal(size=len(rows)).astype(np.float32)}
    head = fit_boundary_head({"made": track}, guesses, {"made": video})
    found_s = pick_boundaries(head.respond(track, guesses["made"]), 0.5, 0.5)
    hits = np.abs(found_s[:, None] - truth_s[10:]).min(0) < 0.25
    assert hits.mean() > 0.9 and len(found_s) < 1.3 * len(truth_s)


def test_annotations_of_one_tool_become_those_of_another(tmp_path):
    rows = "video,start,end,label\nv1,2.0,7.5,jump\nv2,1,3,run\n"
    (tmp_path / "mine.csv").write_text(rows, encoding="utf-8")
    said = bsp(
        "annotations", tmp_path / "mine.csv", "--format", "cvat", "--fps", 25, "--output", tmp_path / "out"
    )
    assert "2 videos, 2 segments, 0 rows left out" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["v1.xml", "v2.xml"]
    bsp("annotations", tmp_path / "out" / "v1.xml", "--fps", 25, "--output", tmp_path / "back.json")
    database = json.loads((tmp_path / "back.json").read_text(encoding="utf-8"))["database"]
    assert database["v1"]["fps"] == 25 and database["v1"]["annotations"] == [
        {"label": "jump", "segment": [2.0, 7.52]}  # to the frame
    ]
    said = bsp("annotations", tmp_path / "out" / "v1.xml", "--output", tmp_path / "no.json", code=2)
    assert "pass the rate" in plain(said)
    assert "exists" in plain(
        bsp("annotations", tmp_path / "mine.csv", "--output", tmp_path / "back.json", code=2)
    )
