"""Files of annotation tools: read as the tools write them, and written so that nothing is lost on the way.

The samples are written by hand after: BORIS, `tests/files/test.boris` and the exports beside it
(github.com/olivierfriard/BORIS); ELAN, the annotation format EAF 3.0 (mpi.nl/tools/elan/EAFv3.0.xsd); CVAT,
"XML annotation format" 1.1 (docs.cvat.ai); VIA 3, `CodeDoc.md` and `_via_metadata.js` (gitlab.com/vgg/via);
FiftyOne, `FiftyOneTemporalDetectionDataset` (docs.voxel51.com).
"""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bsp_hf.localization.annotations.layouts import detect_layout, read_annotations
from bsp_hf.localization.annotations.reading import BadRowError
from bsp_hf.localization.annotations.tools.media import id_of_media
from bsp_hf.localization.annotations.types import AnnotatedVideo, AnnotationSet, Segment
from bsp_hf.localization.annotations.writing import ANNOTATION_WRITERS, write_annotations

SAMPLES = Path(__file__).parent / "samples"
BORIS = {
    "time_format": "hh:mm:ss",
    "project_format_version": "7.0",
    "subjects_conf": {"0": {"key": "1", "name": "subject1", "description": ""}},
    "behaviors_conf": {
        "0": {"type": "State event", "key": "s", "code": "stand"},
        "1": {"type": "Point event", "key": "p", "code": "peck"},
    },
    "observations": {
        "two raters": {
            "file": {"1": ["a.mp4"], "2": []},
            "type": "MEDIA",
            "time offset": 0.0,
            # In the order of rating; states of two subjects overlap, and one never ends.
            "events": [
                [9.9, "subject1", "stand", "", ""],
                [3.3, "subject1", "stand", "", ""],
                [4.0, "", "stand", "", "", 100],
                [4.5, "", "peck", "", ""],
                [7.0, "", "stand", "", "", 175],
                [12.0, "", "stand", "fast", ""],
            ],
            "media_info": {"length": {"a.mp4": 20.0}, "fps": {"a.mp4": 25.0}},
        },
        "one after another": {
            "file": {"1": ["C:\\videos\\b.mp4", "/home/u/c.avi"]},
            "type": "MEDIA",
            "time offset": 0.0,
            "events": [[time_s, "", "stand", "", ""] for time_s in (2, 5, 12, 13.5)],
            "media_info": {
                "length": {"C:\\videos\\b.mp4": 10.0, "/home/u/c.avi": 8.0},
                "fps": {"C:\\videos\\b.mp4": 30.0, "/home/u/c.avi": 29.97},
            },
        },
        "live": {"file": [], "type": "LIVE", "events": [[t, "", "stand", "", ""] for t in (1.5, 2)]},
    },
}  # fmt: skip


def read(tmp_path, name, content, **options):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_annotations(path, **options)


def spans(video):
    return [(pytest.approx(one.start_s), pytest.approx(one.end_s), one.label) for one in video.segments]


def test_a_project_of_boris(tmp_path, caplog):
    found = read(tmp_path, "made.boris", BORIS)
    assert found.layout == "boris" and list(found.by_id) == ["a", "b", "c", "live"]
    assert spans(found.by_id["a"]) == [(4.0, 7.0, "stand"), (3.3, 9.9, "stand")]
    assert (found.by_id["a"].fps, found.by_id["a"].duration_s) == (25.0, 20.0)
    assert spans(found.by_id["b"]) == [(2, 5, "stand")] and found.by_id["b"].fps == 30.0
    assert spans(found.by_id["c"]) == [(2, 3.5, "stand")] and found.by_id["c"].fps == 29.97
    assert spans(found.by_id["live"]) == [(1.5, 2, "stand")]
    (problem,) = found.problems
    assert "12 s, without an end" in problem.text and problem.line == 1
    assert "1 point events" in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"time offset": 5.0}, "time offset; set it to 0"),
        ({"file": {"1": ["a.mp4", "z.mp4"]}}, "length of one of its 2 files is not known"),
        ({"events": [["soon", "", "stand"]]}, "time is 'soon'"),
    ],
)
def test_observations_of_boris_whose_times_are_unknown_are_refused(tmp_path, change, said):
    changed = json.loads(json.dumps(BORIS))
    changed["observations"]["two raters"].update(change)
    found = read(tmp_path, "made.boris", changed)
    assert "a" not in found.by_id and said in found.problems[0].text and len(found.problems) == 1


@pytest.mark.parametrize("name", ["events.tsv", "events.csv"])
def test_events_that_boris_exports_as_a_table(tmp_path, name):
    text = (SAMPLES / "events.tsv").read_text(encoding="utf-8")
    found = read(tmp_path, name, text if name.endswith("tsv") else text.replace("\t", ","))
    assert found.layout == "boris" and list(found.by_id) == ["6008"]
    assert spans(found.videos[0]) == [(1.8, 8.125, "s")] and found.videos[0].fps == 29.97
    assert [problem.line for problem in found.problems] == [4, 5]
    assert "counts time over several files" in found.problems[0].text


def test_events_that_current_releases_of_boris_export(tmp_path):
    """Columns after `export_events.py` of BORIS 9, whose media file stands behind the times."""
    columns = (
        "Observation id,Source,Time offset (s),Media duration (s),FPS (frame/s),Subject,Behavior,Modifier #1"
    )
    columns += ",Behavior type,Start (s),Stop (s),Duration (s),Media file name,Image index start"
    rows = [
        "first,player #1:/v/a.mp4,0.0,60.0,25.000,,walk,NA,STATE,1.8,8.12,6.32,/v/a.mp4,45",
        "late,player #1:/v/b.mp4,5.0,60.0,25.000,,walk,NA,STATE,1.8,8.12,6.32,/v/b.mp4,45",
    ]
    found = read(tmp_path, "events.csv", "\n".join([columns, *rows]) + "\n")
    assert list(found.by_id) == ["a"] and spans(found.videos[0]) == [(1.8, 8.12, "walk")]
    assert found.videos[0].fps == 25 and "has a time offset" in found.problems[0].text


def test_a_document_of_elan():
    found = read_annotations(SAMPLES / "kitchen.eaf")
    assert found.layout == "elan" and [video.video_id for video in found.videos] == ["küche 1"]
    assert spans(found.videos[0]) == [(1.26, 2.46, "pour & stir"), (1.66, 2.06, "hands")]
    assert len(found.problems) == 1  # the slot that is nowhere


def test_tracks_and_tags_of_cvat():
    found = read_annotations(SAMPLES / "annotations.xml", fps=20)
    (video,) = found.videos
    assert (found.layout, video.video_id, video.num_frames, video.duration_s) == ("cvat", "cup", 100, 5.0)
    assert spans(video) == [
        (0.5, 0.6, "car"),
        (1.0, 1.05, "car"),
        (0, 5, "lane"),
        (0.15, 0.25, "rain"),
        (0.45, 0.5, "rain"),
    ]
    with pytest.raises(ValueError, match=r"annotations.xml: CVAT counts frames.*fps=25"):
        read_annotations(SAMPLES / "annotations.xml")


VIA = {
    "project": {"pid": "__VIA_PROJECT_ID__", "vid_list": ["1", "2"], "data_format_version": "3.1.1"},
    "config": {},
    "attribute": {
        "1": {
            "aname": "TEMPORAL-SEGMENTS",
            "anchor_id": "FILE1_Z2_XY0",
            "type": 4,
            "options": {"4": "break egg"},
        },
        "2": {"aname": "object", "anchor_id": "FILE1_Z1_XY1", "type": 1, "options": {}},
    },
    "file": {
        "1": {"fid": "1", "fname": "eggs.mp4", "type": 4, "loc": 1, "src": ""},
        "2": {"fid": "2", "fname": "none.mp4", "type": 4, "loc": 1, "src": ""},
    },
    "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
    "metadata": {
        "1_LE5Q13VY": {"vid": "1", "flg": 0, "z": [28.36, 29.65], "xy": [], "av": {"1": "4"}},
        "1_region": {"vid": "1", "flg": 0, "z": [3.0], "xy": [2, 10, 10, 50, 50], "av": {"2": "cup"}},
        "1_text": {"vid": "1", "flg": 0, "z": [30, 31], "xy": [], "av": {"1": "pour"}},
        "1_lost": {"vid": "9", "flg": 0, "z": [30, 31], "xy": [], "av": {}},
    },
}


def test_temporal_segments_of_via(tmp_path):
    found = read(tmp_path, "project.json", VIA)
    assert found.layout == "via" and list(found.by_id) == ["eggs", "none"]
    assert spans(found.by_id["eggs"]) == [(28.36, 29.65, "break egg"), (30, 31, "pour")]
    assert [("view 9" in problem.text) for problem in found.problems] == [True]


def test_temporal_detections_of_fiftyone(tmp_path):
    labels = {
        "dogs": [{"label": 0, "support": [1, 25]}, {"label": 1, "timestamps": [0.5, 2.0], "confidence": 0.9}],
        "empty": None,
    }
    found = read(tmp_path, "labels.json", {"classes": ["cat", "dog"], "labels": labels}, fps=25)
    assert found.layout == "fiftyone" and list(found.by_id) == ["dogs", "empty"]
    assert spans(found.by_id["dogs"]) == [(0, 1, "cat"), (0.5, 2, "dog")]
    found = read(tmp_path, "labels.json", {"classes": ["cat", "dog"], "labels": labels})
    assert spans(found.by_id["dogs"]) == [(0.5, 2, "dog")]
    assert "pass the rate (fps=25)" in found.problems[0].text


MADE = AnnotationSet(
    (
        AnnotatedVideo(
            "kitchen 1",
            12.0,
            segments=(
                Segment(0.0, 2.04, "reach"),
                Segment(2.04, 5.0, "grasp & <lift>"),
                Segment(5.0, 9.96, "reach"),
            ),
            fps=25.0,
        ),
        AnnotatedVideo("hall", 8.0, "", (Segment(1.0, 2.0, "walk"), Segment(1.52, 4.0, "talk")), fps=25.0),
    )
)


@pytest.mark.parametrize("layout", list(ANNOTATION_WRITERS))
def test_what_is_written_is_read_again(tmp_path, layout):
    writer = ANNOTATION_WRITERS[layout]
    media = {"kitchen 1": "kitchen 1.mp4", "hall": "hall.mp4"}
    name = "out" if writer.is_of_one_video else f"out{writer.suffix}"
    files = write_annotations(MADE, tmp_path / name, layout, media)
    assert len(files) == (2 if writer.is_of_one_video else 1)
    videos = {}
    for file in files:
        assert detect_layout(file) == layout
        found = read_annotations(file, strict=True, fps=25 if layout in ("cvat", "fiftyone") else None)
        videos |= found.by_id
    for made in MADE.videos:
        video = videos[made.video_id]
        assert sorted(spans(video), key=str) == sorted(spans(made), key=str)
        if layout != "via":  # which has no place for it
            assert video.fps == made.fps
        if layout not in ("via", "fiftyone"):
            assert video.duration_s == made.duration_s


@pytest.mark.parametrize("layout", list(ANNOTATION_WRITERS))
def test_what_is_written_is_detected_under_any_name_and_in_folders(tmp_path, layout):
    videos = tuple(
        AnnotatedVideo(name, 9.0, segments=(Segment(1.0, 2.0, "x"),), fps=25.0) for name in ("a/b", "c")
    )
    place = tmp_path / f"mine.{layout}"
    write_annotations(AnnotationSet(videos), place, layout)
    assert detect_layout(place) == layout
    found = read_annotations(place, fps=25, strict=True)
    assert {video.video_id: video.segments for video in found.videos} == {
        v.video_id: v.segments for v in videos
    }


def places_of(value, place=()):
    """Yield the place of every part of parsed JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*place, key)
        yield from places_of(part, (*place, key))


@pytest.mark.parametrize("layout", ["boris", "via", "fiftyone"])
def test_parts_of_another_type_are_refused_or_listed(tmp_path, layout):
    videos = tuple(AnnotatedVideo(name, 9.0, segments=(Segment(1.0, 2.0, "x"),), fps=25.0) for name in "ab")
    path = tmp_path / f"made.{layout}"
    write_annotations(AnnotationSet(videos), path, layout)
    text = json.dumps(BORIS) if layout == "boris" else path.read_text(encoding="utf-8")
    for place in list(places_of(json.loads(text))):
        for odd in (None, 3, [None], {"x": None}):
            project = json.loads(text)
            part = project
            for key in place[:-1]:
                part = part[key]
            part[place[-1]] = odd
            path.write_text(json.dumps(project), encoding="utf-8")
            try:
                found = read_annotations(path, layout, fps=25)
            except ValueError as error:
                assert str(path) in str(error), (place, odd)
            else:
                assert all(one.start_s < one.end_s for v in found.videos for one in v.segments), (place, odd)


def test_detections_that_are_no_list_are_listed(tmp_path):
    labels = {"a": {"detections": []}, "b": None, "c": [{"label": "x", "timestamps": [1, 2]}]}
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"classes": None, "labels": labels}), encoding="utf-8")
    found = read_annotations(path)
    assert sorted(found.by_id) == ["a", "b", "c"] and found.num_segments == 1
    assert ["has detections; expected timestamps or support" in str(one) for one in found.problems] == [True]


def test_a_bad_row_in_a_folder_names_its_document(tmp_path):
    videos = tuple(AnnotatedVideo(name, segments=(Segment(1.0, 2.0, "x"),)) for name in "ab")
    write_annotations(AnnotationSet(videos), tmp_path / "all", "elan")
    document = tmp_path / "all/b.eaf"
    document.write_text(document.read_text().replace('TIME_VALUE="2000"', 'TIME_VALUE="500"'))
    found = read_annotations(tmp_path / "all")
    assert [len(video.segments) for video in found.videos] == [1, 0]
    assert str(document) in str(found.problems[0])
    (tmp_path / "all/tasks.xml").write_text("<annotations/>")
    with pytest.raises(ValueError, match="elan and cvat; name one"):
        detect_layout(tmp_path / "all")


def test_written_projects_have_what_the_tools_look_for(tmp_path):
    path = tmp_path / "made.boris"
    write_annotations(MADE, path, "boris", {"hall": "/videos/hall.mp4"})
    project = json.loads(path.read_text(encoding="utf-8"))
    observation = project["observations"]["kitchen 1"]
    assert observation["events"][0] == [0.0, "", "reach", "", "", 0]
    assert [event[5] for event in observation["events"]] == [0, 51, 51, 125, 125, 249]
    assert project["observations"]["hall"]["media_info"]["fps"] == {"/videos/hall.mp4": 25.0}
    assert set(project) == {
        "time_format", "project_date", "project_name", "project_description", "project_format_version",
        "subjects_conf", "behaviors_conf", "observations", "behavioral_categories",
        "behavioral_categories_config", "independent_variables", "coding_map", "behaviors_coding_map",
        "converters",
    }  # fmt: skip
    (file,) = write_annotations(AnnotationSet(MADE.videos[1:]), tmp_path / "hall.eaf", "elan")
    root = ElementTree.parse(file).getroot()
    assert [tier.get("TIER_ID") for tier in root.iter("TIER")] == ["segments", "segments 2"]
    slots = [int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")]
    assert slots == sorted(slots) == [1000, 1520, 2000, 4000]
    assert root.find("HEADER/MEDIA_DESCRIPTOR").get("RELATIVE_MEDIA_URL") == "./hall.mp4"


def test_what_a_tool_cannot_hold_is_refused_and_nothing_is_written(tmp_path):
    overlapping = AnnotatedVideo("v", segments=(Segment(0, 2, "a"), Segment(1, 3, "a")))
    with pytest.raises(ValueError, match="overlap at 1 s, which state events of BORIS cannot"):
        write_annotations(AnnotationSet((overlapping,)), tmp_path / "v.boris", "boris")
    with pytest.raises(ValueError, match="frame rate of the video is not known"):
        write_annotations(AnnotationSet((overlapping,)), tmp_path / "v.xml", "cvat")
    with pytest.raises(ValueError, match="'xlsx' is none of activitynet, boris"):
        write_annotations(MADE, tmp_path / "v.xlsx", "xlsx")
    assert not list(tmp_path.iterdir())
    for name, text, said in [
        ("v.eaf", "<a", "not a readable XML"),
        ("v.xml", "<a/>", "expected <annotations>"),
    ]:
        with pytest.raises(ValueError, match=said):
            read(tmp_path, name, text, fps=25)


@pytest.mark.parametrize(
    ("name", "video_id"),
    [
        ("a.mp4", "a"),
        ("kitchen/a.b.mp4", "kitchen/a.b"),
        ("/home/u/a.mp4", "a"),
        ("C:\\videos\\a b.mp4", "a b"),
        ("T:/Coding/6008.mp4", "6008"),
        ("file:///D:/k%C3%BC%201.mp4", "kü 1"),
        ("https://example.org/x/a.mp4?token=1", "a"),
        ("../videos/a.mp4", "a"),
        ("./a.mp4", "a"),
    ],
)
def test_ids_of_videos_hold_no_folders_of_a_machine(name, video_id):
    assert id_of_media(name) == video_id
    with pytest.raises(BadRowError):
        id_of_media("")
