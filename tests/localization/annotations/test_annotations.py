"""Readers of annotations: the counts of the real files, and every bad row by file and line."""

import gzip
import json

import pytest

from bsp_hf.localization.annotations.detection import read_crosstask_tasks
from bsp_hf.localization.annotations.layouts import detect_layout, read_annotations
from bsp_hf.localization.annotations.types import AnnotationError, Segment


@pytest.fixture(scope="module")
def files(shared_data):
    return shared_data / "annotations"


def facts(annotations):
    return (
        len(annotations),
        annotations.num_segments,
        annotations.num_queries,
        len(annotations.problems),
    )


@pytest.mark.parametrize(
    ("name", "layout", "expected"),
    [
        # videos, segments, queries, bad rows: what the data sets' papers and the kit's list state
        ("activitynet_captions/train.json.gz", "captions", (10009, 0, 37421 - 4, 4)),
        pytest.param(
            *("activitynet_captions/val.json.gz", "captions", (4917, 0, 17505, 0)), marks=pytest.mark.slow
        ),
        pytest.param(
            *("activitynet_captions/test.json.gz", "captions", (4885, 0, 17031, 0)), marks=pytest.mark.slow
        ),
        ("tacos/train.json.gz", "captions", (75, 0, 9790, 0)),
        ("tacos/val.json.gz", "captions", (27, 0, 4436, 0)),
        ("tacos/test.json.gz", "captions", (25, 0, 4001, 0)),
        ("charades_sta/charades_sta_train.txt", "charades-sta", (5338, 0, 12408 - 4, 4)),
        ("charades_sta/charades_sta_test.txt", "charades-sta", (1334, 0, 3720, 0)),
        ("thumos14/thumos_gt.json.gz", "activitynet", (410, 6318, 0, 0)),
        ("thumos14/test_Annotation.csv.gz", "thumos-table", (213, 3457 - 99, 0, 0)),
        ("thumos14/val_Annotation.csv.gz", "thumos-table", (200, 3096 - 89, 0, 0)),
        ("thumos14/thumos14_test_groundtruth.csv.gz", "thumos-table", (213, 3457 - 99, 0, 0)),
        ("crosstask/steps_797_videos.csv.gz", "crosstask", (797, 6070, 0, 0)),
        ("coin/coin_test_30.json.gz", "coin", (3006, 11583, 0, 0)),
        ("qvhighlights/highlight_val_release.jsonl.gz", "qvhighlights", (1519, 0, 1550, 0)),
    ],
)
def test_real_files_are_read_whole(files, name, layout, expected):
    assert detect_layout(files / name) == layout
    found = read_annotations(files / name)
    assert facts(found) == expected
    windows = [window for video in found.videos for query in video.queries for window in query.windows_s]
    windows += [(segment.start_s, segment.end_s) for video in found.videos for segment in video.segments]
    assert all(0 <= start_s < end_s for start_s, end_s in windows)


def test_subsets_classes_and_durations_of_activitynet_are_the_official_ones(files):
    path = files / "activitynet_v1-3" / "activitynet_v1-3_train_val.json.gz"
    found = read_annotations(path, "activitynet")
    assert facts(found) == (14950, 23064 - 12, 0, 12)
    assert all(problem.path == path for problem in found.problems)
    assert found.subsets == ("training", "validation")
    assert [len(found.of_subset(name)) for name in found.subsets] == [10024, 4926]
    classes = json.loads((files / "activitynet_v1-3" / "action_label_mapping.json").read_text())
    assert found.labels == tuple(sorted(classes))
    video = found.by_id["sJFgo9H6zNo"]
    assert (video.duration_s, video.fps, video.num_frames) == (138.967, 30.0, 4169)
    assert video.segments == (Segment(0.01, 123.423, "Fun sliding down"),)
    assert len(found.of_subset("validation").segment_table()) == 7654 - 3
    with pytest.raises(ValueError, match=r"subset 'test'.*'training', 'validation'"):
        found.of_subset("test")


def test_reversed_moments_of_charades_sta_are_an_error_when_read_strictly(files):
    path = files / "charades_sta" / "charades_sta_train.txt"
    with pytest.raises(AnnotationError, match=r"4 bad rows(.|\n)*line 8252: .*does not end after") as caught:
        read_annotations(path, "charades-sta", strict=True)
    assert len(caught.value.problems) == 4


def test_durations_and_bad_lines_of_charades_sta(files):
    folder = files / "charades_sta"
    table = folder / "Charades_v1_train_id_scene_length_actions.csv.gz"
    found = read_annotations(
        folder / "charades_sta_train.txt", "charades-sta", durations=table, subset="train"
    )
    assert [problem.line for problem in found.problems] == [8252, 8440, 9623, 9624]
    assert "LEOL6" in found.problems[0].text and "8 to 7" in found.problems[0].text
    assert all(video.duration_s for video in found.videos)
    first = found.videos[0]
    assert (first.video_id, first.subset, first.queries[0].windows_s) == ("AO8RW", "train", ((0.0, 6.9),))
    assert first.queries[0].sentence == "a person is putting a book on a shelf"
    # Numbers count bad rows too, so that they stay the same however a file is read.
    assert max(int(query.query_id) for video in found.videos for query in video.queries) == 12407


def test_frames_of_tacos_become_seconds(files):
    video = read_annotations(files / "tacos" / "train.json.gz", subset="train").by_id["s17-d69.avi"]
    assert video.duration_s == pytest.approx(12438 / 29.4)
    assert video.queries[0].windows_s[0] == pytest.approx((224 / 29.4, 358 / 29.4))


def test_several_moments_answer_a_query_of_qvhighlights(files):
    found = read_annotations(files / "qvhighlights" / "highlight_val_release.jsonl.gz")
    assert sum(len(query.windows_s) for video in found.videos for query in video.queries) == 2803
    query = found.by_id["NUsG9BgSes0_210.0_360.0"].queries[0]
    assert (query.query_id, query.windows_s, query.end_s) == ("2579", ((82.0, 150.0),), 150.0)


def test_classes_of_both_thumos_tables_agree_with_the_mapping(files):
    classes = json.loads((files / "thumos14" / "action_label_mapping.json").read_text())
    named = read_annotations(files / "thumos14" / "test_Annotation.csv.gz")
    numbered = read_annotations(files / "thumos14" / "thumos14_test_groundtruth.csv.gz")
    assert named.labels == tuple(sorted(classes))
    by_name = {
        (video.video_id, segment.start_s, segment.end_s, segment.label)
        for video in named.videos
        for segment in video.segments
    }
    by_number = {
        (video.video_id, segment.start_s, segment.end_s, classes[int(segment.label)])
        for video in numbered.videos
        for segment in video.segments
    }
    assert by_name == by_number
    assert numbered.videos[0].duration_s == 215.166667
    everything = read_annotations(files / "thumos14" / "test_Annotation.csv.gz", keep_ambiguous=True)
    assert everything.num_segments == 3457


def test_crosstask_has_18_primary_tasks_and_names_its_steps(files):
    folder = files / "crosstask"
    tasks = read_crosstask_tasks(folder / "tasks_primary.txt")
    assert len(tasks) == 18
    assert len(read_crosstask_tasks(folder / "tasks_related.txt")) == 65
    assert tasks["23521"].steps[:2] == ("pour water", "pour juice")
    found = read_annotations(
        folder / "steps_797_videos.csv.gz",
        tasks=folder / "tasks_primary.txt",
        validation_videos=folder / "videos_val.csv",
    )
    assert facts(found) == (797, 6070, 0, 0)
    assert len({video.task for video in found.videos}) == 18
    assert len(found.of_subset("validation")) + len(found.of_subset("training")) == 797
    assert found.by_id["0mnuAqJCg5c"].segments[0] == Segment(157, 173, tasks["105222"].steps[4])


def test_the_official_folder_of_crosstask_and_its_bad_rows(tmp_path, files):
    (tmp_path / "23521_a_b-C.csv").write_text("1,2.0,5.5\n\n9,1,2\n2,7,6\n2,x,9\n6,8,9.5\n")
    (tmp_path / "99999_other.csv").write_text("1,2,3\n")
    with gzip.open(tmp_path / "23521_zipped.csv.gz", "wt") as file:
        file.write("2,0,1\n")
    (tmp_path / "readme.txt").write_text("not an annotation")
    found = read_annotations(tmp_path, tasks=files / "crosstask" / "tasks_primary.txt")
    assert [video.video_id for video in found.videos] == ["a_b-C", "zipped"]
    assert found.videos[0].segments == (
        Segment(2.0, 5.5, "pour water"),
        Segment(8.0, 9.5, "pour mixture into cup"),
    )
    assert [(problem.path.name, problem.line) for problem in found.problems] == [
        ("23521_a_b-C.csv", 3),
        ("23521_a_b-C.csv", 4),
        ("23521_a_b-C.csv", 5),
    ]
    assert "steps from 1 to 6" in str(found.problems[0])


def test_bad_rows_of_a_plain_table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "video,start,end,label,sentence,duration,subset\n"
        "v1,1,2.5,jump,,10,train\n"
        "v1,3,nan,jump,,10,train\n"
        '"../v2",1,2,jump,,10,train\n'
        "v3,-1,2,jump,,10,train\n"
        "v3,,,,,-4,train\n"
        "v4,0,4,run,a man runs,5,test\n"
    )
    found = read_annotations(path)
    assert [video.video_id for video in found.videos] == ["v1", "v3", "v4"]
    assert [problem.line for problem in found.problems] == [3, 4, 5, 6]
    assert [video.duration_s for video in found.videos] == [10, 10, 5]
    assert found.by_id["v4"].queries[0].sentence == "a man runs"
    assert found.by_id["v4"].segments == (Segment(0, 4, "run"),)
    with pytest.raises(AnnotationError, match=r"4 bad rows(.|\n)*mine.csv, line 3: .*nan"):
        read_annotations(path, strict=True)


def test_plain_json_in_both_forms_is_the_same(tmp_path):
    flat = tmp_path / "flat.json"
    rows = [
        {"video": "v1", "start": 1, "end": 2, "label": "jump", "duration": 9},
        {"video": "v1", "start": 3, "end": 5, "sentence": "a jump"},
        {"video": "v2", "start": 7, "end": 6, "label": "run"},
        "nothing",
    ]
    flat.write_text(json.dumps(rows, indent=1))
    nested = tmp_path / "nested.json"
    video = {
        "duration": 9,
        "segments": [{"start": 1, "end": 2, "label": "jump"}],
        "queries": [{"start": 3, "end": 5, "sentence": "a jump"}],
    }
    record = {"v1": video, "v2": {"segments": [{"start": 7, "end": 6, "label": "run"}]}}
    nested.write_text(json.dumps(record, indent=1))
    assert read_annotations(flat).videos == read_annotations(nested).videos
    lines_of_v2 = [
        1 + next(number for number, line in enumerate(path.read_text().splitlines()) if '"v2"' in line)
        for path in (flat, nested)
    ]
    assert [problem.line for problem in read_annotations(flat).problems] == [lines_of_v2[0], 1]
    assert [problem.line for problem in read_annotations(nested).problems] == [lines_of_v2[1]]


def test_bad_records_of_json_layouts_name_the_line_of_their_video(tmp_path):
    path = tmp_path / "activitynet.json"
    database = {
        "good": {"subset": "a", "duration": 5, "annotations": [{"segment": ["1", "2"], "label": "x"}]},
        "text": "no record",
        "odd": {"subset": "a", "duration": "long", "annotations": [{"label": "x"}, 3, {"segment": [1, 2]}]},
    }
    path.write_text(json.dumps({"database": database}, indent=1))
    found = read_annotations(path)
    lines = path.read_text().splitlines()
    expected = [1 + next(n for n, line in enumerate(lines) if name in line) for name in ('"text"', '"odd"')]
    assert [problem.line for problem in found.problems] == [expected[0], *[expected[1]] * 3]
    assert found.by_id["good"].segments == (Segment(1, 2, "x"),)
    assert found.by_id["odd"].segments == (Segment(1, 2, ""),)


@pytest.mark.parametrize(
    ("name", "layout", "lines", "bad"),
    [
        (
            "anet.json",
            "activitynet",
            ['{"database": {',
             '"a": {"subset": "t", "duration": 9, "annotations": [{"segment": [1, 2], "label": "x"}]},',
             '"b": {"subset": "t", "duration": 9, "annotations": [{"segment": [2, 1], "label": "x"}]}}}'],
            {3: "from 2 to 1 does not end after its start"},
        ),
        (
            "captions.json",
            "captions",
            ['{"a": {"duration": 9, "timestamps": [[0, 1]], "sentences": ["one"]},',
             '"b": {"duration": 9, "timestamps": [[0, 1], [1, 2]], "sentences": ["one"]},',
             '"c": {"timestamps": [[0, 30]], "sentences": ["frames"], "fps": 0, "num_frames": 60},',
             '"d": {"duration": 9, "timestamps": [[-1, 1]], "sentences": ["early"]}}'],
            {2: "lists of one length", 3: "fps is 0", 4: "before the video"},
        ),
        (
            "tacos.json",
            "captions",
            ['{"s1.avi": {"timestamps": [[0, 30]], "sentences": ["one"], "fps": 30, "num_frames": 90},',
             '"s2.avi": {"timestamps": [[40, 30]], "sentences": ["two"], "fps": 30, "num_frames": 90}}'],
            {2: "from 40 to 30"},
        ),
        (
            "sta.txt",
            "charades-sta",
            ["AAAAA 0.0 2.0##a person runs.", "AAAAA 2.0##no end.", "BBBBB 3 x##a word.", "CCCCC 1 2##"],
            {2: "VIDEO START END##sentence", 3: "end is 'x'", 4: "expected words"},
        ),
        (
            "thumos.csv",
            "thumos-table",
            ["video,type,type_idx,start,end,startFrame,endFrame",
             "video_test_1,Diving,12,1.0,2.0,30,60",
             "video_test_1,Diving,12,5.0,nan,30,60",
             "video_test_2,Ambiguous,0,9.0,2.0,1,2"],
            {3: "end is 'nan'"},
        ),
        (
            "official.json",
            "coin",
            ['{"database": {',
             '"a": {"class": "Tea", "subset": "t", "duration": 9, "annotation": [',
             '{"segment": [1, 3], "label": "boil"}]},',
             '"b": {"class": "Tea", "subset": "t", "duration": 0, "annotation": [',
             '{"segment": ["1"], "label": "boil"}]}}}'],
            {4: ("duration is 0", "expected [start, end]")},
        ),
        (
            "steps.csv",
            "crosstask",
            ["task,video,step,start,end", "1,a,1,0,2", "1,a,0,3,4", "1,b,2.5,3,4", "1,b,2,4,4"],
            {3: "step is '0'", 4: "step is '2.5'", 5: "does not end"},
        ),
        (
            "qv.jsonl",
            "qvhighlights",
            ['{"qid": 1, "query": "one", "vid": "a", "duration": 9, "relevant_windows": [[0, 2]]}',
             '{"qid": 2, "query": "two", "vid": "a", "duration": 9}',
             '{"qid": "x", "query": "three", "vid": "a", "duration": 9, "relevant_windows": [[0, 2]]}',
             '{"query": "four", "vid": "a"}', '{"qid": 5,'],
            {2: "no moment", 3: "qid is 'x'", 4: "qid, duration missing", 5: ""},
        ),
    ],
)  # fmt: skip
def test_bad_rows_of_every_layout_are_named_by_file_and_line(tmp_path, name, layout, lines, bad):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n")
    assert detect_layout(path) == layout
    found = read_annotations(path)
    assert found.videos[0].segments or found.videos[0].queries
    expected = [
        (line, text) for line, texts in bad.items() for text in ([texts] if isinstance(texts, str) else texts)
    ]
    assert [problem.line for problem in found.problems] == [line for line, _ in expected]
    for problem, (line, text) in zip(found.problems, expected, strict=True):
        assert f"{path}, line {line}: " in str(problem) and text in str(problem)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.json", '{"database": {', "not a readable JSON"),
        ("list.json", "[1, 2]", "annotates no video"),
        ("columns.csv", "film,begin\n", "columns video, start, end are missing"),
        ("empty.csv", "video,start,end\n", "annotates no video"),
        ("notes.txt", "hello", "layout cannot be detected"),
        ("bad.jsonl", "{\n", "annotates no video.*line 1"),
    ],
)
def test_files_that_are_something_else_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_annotations(tmp_path / name)


def test_damaged_gzip_is_refused(tmp_path):
    whole = gzip.compress(b"video,start,end\nv,1,2\n" * 100)
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut.csv.gz is not a readable"):
        read_annotations(tmp_path / "cut.csv.gz")


def test_the_database_of_activitynet_is_read_without_its_envelope(tmp_path):
    database = {"v1": {"duration": 9, "annotations": [{"segment": [1, 4], "label": "jump"}]}}
    (tmp_path / "bare.json").write_text(json.dumps(database))
    assert detect_layout(tmp_path / "bare.json") == "activitynet"
    (video,) = read_annotations(tmp_path / "bare.json").videos
    assert (video.duration_s, video.segments) == (9.0, (Segment(1.0, 4.0, "jump"),))


def test_a_table_of_durations_is_read_for_every_layout(tmp_path, caplog):
    path, table = tmp_path / "mine.csv", tmp_path / "lengths.csv"
    path.write_text("video,start,end,label,duration\na,1,2,jump,\nb,1,2,run,7\n")
    table.write_text("id,length\na,5\nb,6\n")
    found = read_annotations(path, durations=table)
    assert [video.duration_s for video in found.videos] == [5, 7]
    for name in ("durations", "tasks", "validation_videos"):
        with pytest.raises(FileNotFoundError, match="lost"):
            read_annotations(path, **{name: tmp_path / "lost"})
    read_annotations(path, tasks=table)
    assert f"{table} is not read: annotations of the layout csv have no tasks" in caplog.text
