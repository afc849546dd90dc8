"""What an annotation file says is read or named, never dropped without a word."""

import json
import logging

import pytest

from bsp_hf.localization.annotations.layouts import read_annotations
from bsp_hf.localization.annotations.types import Segment

JUMP = (Segment(1.0, 5.0, "jump"),)


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.json", [{"video": "a", "segment": [1, 5], "label": "jump"}]),
        ("class.json", [{"video": "a", "start": 1, "end": 5, "class": "jump"}]),
        ("nested.json", {"a": {"duration": 10, "segments": [{"segment": [1, 5], "label": "jump"}]}}),
        (
            "bmn.json",
            {
                "a": {
                    "duration_second": 10.0,
                    "duration_frame": 300,
                    "feature_frame": 296,
                    "annotations": [{"segment": [1, 5], "label": "jump"}],
                }
            },
        ),
        ("anet.json", {"database": {"a": {"annotations": [{"segment": [1, 5], "action": "jump"}]}}}),
        ("class.csv", "video,start,end,class\na,1,5,jump\n"),
        ("action.csv", "video,start,end,action\na,1,5,jump\n"),
    ],
)
def test_names_that_people_use_are_read(tmp_path, name, content):
    found = read_annotations(write(tmp_path, name, content))
    assert found.by_id["a"].segments == JUMP and not found.problems
    if "duration" in json.dumps(content):
        assert found.by_id["a"].duration_s == 10
    if name == "bmn.json":
        assert found.by_id["a"].num_frames == 300


@pytest.mark.parametrize("column", ["sentence", "caption", "query", "description"])
def test_sentences_have_several_names(tmp_path, column):
    found = read_annotations(write(tmp_path, "x.csv", f"video,start,end,{column}\na,1,5,a man jumps\n"))
    assert found.videos[0].queries[0].sentence == "a man jumps" and not found.num_segments


def test_columns_and_keys_that_are_not_read_are_named(tmp_path, caplog):
    read_annotations(write(tmp_path, "x.csv", "video,start,end,label,verb\na,1,5,jump,jumps\n"))
    assert "x.csv: not read: verb" in caplog.text
    caplog.clear()
    read_annotations(
        write(tmp_path, "x.json", [{"video": "a", "start": 1, "end": 5, "label": "x", "verb": 1}])
    )
    assert "x.json: not read: verb" in caplog.text
    caplog.clear()
    record = {"a": {"segments": [{"start": 1, "end": 2, "label": "x", "verb": "y"}], "length": 9}}
    read_annotations(write(tmp_path, "y.json", record))
    assert "y.json: not read: length, verb" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        read_annotations(write(tmp_path, "z.csv", "video,start,end,label,subset,duration\na,1,5,jump,t,9\n"))
    assert not caplog.text


def test_a_label_under_a_name_that_is_not_read_is_a_bad_row(tmp_path):
    entry = {"segment": [1, 5], "name": "jump"}
    path = write(tmp_path, "anet.json", {"database": {"a": {"annotations": [entry, {"segment": [6, 7]}]}}})
    found = read_annotations(path)
    assert found.by_id["a"].segments == (Segment(6.0, 7.0, ""),)
    assert "the segment has no label, but name" in str(found.problems[0])


def test_a_row_with_more_cells_than_columns_is_a_bad_row(tmp_path):
    path = write(tmp_path, "x.csv", 'video,start,end,label\na,1,5,jump, high\nb,1,5,"jump, high"\n')
    found = read_annotations(path)
    assert [video.video_id for video in found.videos] == ["b"] and found.labels == ("jump, high",)
    assert "line 2: video a: the row has 5 cells for 4 columns; quote texts with commas" in str(
        found.problems[0]
    )


@pytest.mark.parametrize(
    ("columns", "first", "second", "message"),
    [
        ("subset", "train", "val", "subset is 'val', but 'train' before"),
        ("duration", "10", "100", "duration is '100', but 10 before"),
    ],
)
def test_rows_that_contradict_one_another_are_bad(tmp_path, columns, first, second, message):
    text = f"video,start,end,label,{columns}\na,1,5,jump,{first}\na,6,7,run,{second}\na,2,3,run,{first}\n"
    found = read_annotations(write(tmp_path, "x.csv", text))
    assert found.by_id["a"].segments == (*JUMP, Segment(2.0, 3.0, "run"))
    (problem,) = found.problems
    assert problem.line == 3 and message in problem.text


def test_videos_without_a_single_segment_or_query_are_refused(tmp_path):
    path = write(tmp_path, "x.json", {"database": {"a": {"duration": 9, "events": [{"segment": [1, 2]}]}}})
    with pytest.raises(ValueError, match=r"x\.json names 1 videos, but no segment and no query"):
        read_annotations(path)


def test_a_video_that_stands_twice_in_json_is_refused(tmp_path):
    record = '{"annotations": [{"segment": [1, 5], "label": "jump"}]}'
    path = write(tmp_path, "x.json", f'{{"database": {{"a": {record}, "a": {record}}}}}')
    with pytest.raises(ValueError, match=r"x\.json: the key 'a' stands twice"):
        read_annotations(path)


def test_ambiguous_segments_are_left_out_in_every_layout(tmp_path):
    entries = [{"segment": [1, 5], "label": "jump"}, {"segment": [6, 7], "label": "Ambiguous"}]
    path = write(tmp_path, "x.json", {"database": {"video_test_1": {"annotations": entries}}})
    assert read_annotations(path).videos[0].segments == JUMP
    assert read_annotations(path, keep_ambiguous=True).num_segments == 2
    path = write(
        tmp_path, "x.csv", "video,start,end,label\nvideo_test_1,1,5,jump\nvideo_test_1,6,7,Ambiguous\n"
    )
    assert read_annotations(path).videos[0].segments == JUMP


def test_numbers_as_labels_are_their_text(tmp_path):
    window = {"video": "a", "start": 1, "end": 5}
    path = write(tmp_path, "x.json", {"database": {"a": {"annotations": [{"segment": [1, 5], "label": 3}]}}})
    assert read_annotations(path).labels == ("3",)
    path = write(tmp_path, "y.json", [{**window, "label": 0}])
    assert read_annotations(path).labels == ("0",)
    path = write(tmp_path, "z.json", [{**window, "label": ["x"]}, {**window, "label": "y"}])
    assert "expected text" in str(read_annotations(path).problems[0])


def test_spaces_around_cells_are_no_part_of_them(tmp_path):
    text = "video, start , end, label\na , 1, 5, jump \na,6,7,jump\n"
    found = read_annotations(write(tmp_path, "x.csv", text))
    assert found.by_id["a"].segments == (*JUMP, Segment(6.0, 7.0, "jump")) and len(found) == 1


def test_a_row_with_fewer_cells_than_columns_is_a_bad_row(tmp_path):
    found = read_annotations(write(tmp_path, "x.csv", "video,start,end,label\na,1,5\nb,1,5,jump\n"))
    assert [video.video_id for video in found.videos] == ["b"]
    assert "line 2: video a: the row has 3 cells for 4 columns" in str(found.problems[0])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "video,start,end,label,label\na,1,5,jump,run\n", "line 1: the column label stands twice"),
        (
            "x.csv",
            'video,start,end,label\na,1,5,"jump\nb,1,5,run\n',
            "line 3: .*; does a text lack one of its quotes",
        ),
        ("x.csv", "video\tstart\tend\tlabel\na\t1\t5\tx\n", "columns have commas between them"),
        ("x.csv", "video;start;end;label\na;1;5;x\n", "columns have commas between them"),
        ("x.json", "[" * 100_000, "json is not a readable JSON file .*nested too deeply"),
    ],
)
def test_tables_and_json_that_cannot_be_read_as_they_are(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=rf"x\..*{message}"):
        read_annotations(write(tmp_path, name, content))


def test_a_key_that_stands_twice_in_a_line_is_a_bad_row(tmp_path):
    good = '{"qid": 1, "query": "q", "vid": "v", "duration": 9, "relevant_windows": [[0, 2]]}\n'
    text = good + good.replace('"qid": 1', '"qid": 2, "duration": 8') + good.replace("1", "4.5", 1)
    found = read_annotations(write(tmp_path, "x.jsonl", text))
    assert found.num_queries == 1
    assert "line 2: the key 'duration' stands twice" in str(found.problems[0])
    assert "line 3: qid is 4.5, expected a whole number" in str(found.problems[1])


def test_a_record_with_its_segments_under_another_name_is_a_bad_row(tmp_path):
    """Beside good ones: a file without a single segment is refused."""
    good = {"annotations": [{"segment": [1, 5], "label": "jump"}]}
    for name in ("segments", "annotation_list"):
        other = {"subset": "t", name: good["annotations"]}
        found = read_annotations(write(tmp_path, "x.json", {"database": {"a": good, "b": other}}))
        assert found.num_segments == 1
        assert f"video b: the record has no annotations, but {name}; call it annotations" in str(
            found.problems[0]
        )
    found = read_annotations(write(tmp_path, "x.json", {"database": {"a": good, "b": {"subset": "t"}}}))
    assert len(found) == 2 and not found.problems


def test_segments_without_a_label_beside_labelled_ones_are_counted(tmp_path, caplog):
    read_annotations(write(tmp_path, "x.csv", "video,start,end,label\na,1,5,\na,2,3,run\nb,1,2,run\n"))
    assert "x.csv: 1 of 3 segments have no label" in caplog.text
    caplog.clear()
    read_annotations(write(tmp_path, "y.csv", "video,start,end\na,1,5\n"))
    assert not caplog.text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "task,video,step,start,end,part\n1,a,1,1,2,val\n"),
        ("x.json", {"a": {"duration": 9, "timestamps": [[1, 2]], "sentences": ["s"], "part": "val"}}),
    ],
)
def test_names_that_other_layouts_do_not_read_are_named(tmp_path, caplog, name, content):
    read_annotations(write(tmp_path, name, content))
    assert f"{name}: not read: part" in caplog.text


def test_a_file_of_crosstask_without_a_step_is_named(tmp_path, caplog):
    (tmp_path / "1_a.csv").write_text("1,2,3\n")
    (tmp_path / "1_b.csv").write_text("\n")
    assert len(read_annotations(tmp_path)) == 1
    assert "1_b.csv holds no step: its video is left out" in caplog.text
