import gzip
import json

import numpy as np
import pytest

from bsp_hf.metrics import SegmentTable, read_ground_truth, read_results
from bsp_hf.metrics.text_files import read_json

GROUND_TRUTH = {
    "database": {
        "v": {"subset": "validation", "annotations": [{"label": "b", "segment": [1, 2]}]},
        "t": {"subset": "training", "annotations": [{"label": "c", "segment": [1, 2]}]},
        "w": {
            "subset": "validation",
            "annotations": [{"label": "a", "segment": ["3.5", "4"]}, {"label": "b", "segment": [5, 6]}],
        },
        "empty": {"subset": "validation", "annotations": []},
    }
}


def test_a_subset_is_read_in_order_of_first_appearance():
    table = read_ground_truth(GROUND_TRUTH, "validation")
    assert table.video_ids == ("v", "w", "empty")
    assert table.labels == ("b", "a")
    assert table.video_index.tolist() == [0, 1, 1]
    assert table.label_index.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(table.segments_s, [[1, 2], [3.5, 4], [5, 6]])
    assert table.scores is None


def test_a_dict_a_path_and_a_gzipped_path_are_the_same(tmp_path):
    plain, packed = tmp_path / "gt.json", tmp_path / "gt.json.gz"
    plain.write_text(json.dumps(GROUND_TRUTH))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    expected = read_ground_truth(GROUND_TRUTH, "validation").segments_s
    for source in (plain, str(plain), packed):
        np.testing.assert_array_equal(read_ground_truth(source, "validation").segments_s, expected)


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "results.json"
    path.write_text('{"results": {"v": [')
    with pytest.raises(ValueError, match=r"results\.json is not a readable JSON file"):
        read_results(path)
    packed = tmp_path / "results.json.gz"
    packed.write_bytes(gzip.compress(b'{"results": {}}')[:-4])
    with pytest.raises(ValueError, match=r"results\.json\.gz is not a readable JSON file"):
        read_json(packed)
    with pytest.raises(FileNotFoundError, match=r"absent\.json"):
        read_results(tmp_path / "absent.json")


def test_videos_are_left_out_of_every_column():
    table = read_ground_truth(GROUND_TRUTH, "validation").without_videos({"v", "unheard of"})
    assert table.video_ids == ("w", "empty")
    assert table.labels == ("a", "b")
    assert table.video_index.tolist() == [0, 0]
    assert table.label_index.tolist() == [0, 1]
    assert len(table) == 2


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"databse": {}}, 'has no "database" mapping.*databse'),
        ([], None),
        ({"database": {"v": []}}, "video 'v' of 'database' holds a list"),
        ({"database": {}}, "No video is in subset 'validation'"),
        ({"database": {"v": {"subset": "test"}}}, r"the file has \['test'\]"),
        (
            {"database": {"v": {"subset": "validation", "annotations": [{"label": "a", "segment": [1]}]}}},
            "Video 'v' has the entry",
        ),
        (
            {"database": {"v": {"subset": "validation", "annotations": [{"label": "a"}]}}},
            "Video 'v' has the entry.*segment",
        ),
        (
            {
                "database": {
                    "v": {
                        "subset": "validation",
                        "annotations": [{"label": "a", "segment": [0, float("nan")]}],
                    }
                }
            },
            "Video 'v' has the segment.*finite",
        ),
    ],
)
def test_malformed_ground_truth_is_named(source, message):
    with pytest.raises((ValueError, TypeError), match=message):
        read_ground_truth(source, "validation")


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"v": {"label": "a"}}, "video 'v' of 'results' holds a dict"),
        ({"v": [{"label": "a", "segment": [0, 1]}]}, "Video 'v'.*score"),
        ({"v": [{"label": "a", "segment": [0, 1], "score": None}]}, "1 scores are NaN, first in video 'v'"),
        ({"v": [{"label": "a", "segment": [0, 1], "score": float("nan")}]}, "1 scores are NaN"),
        ({"v": [{"label": "a", "segment": [0, float("inf")], "score": 1}]}, "Video 'v' has the segment"),
        ({"v": [{"label": "a", "segment": None, "score": 1}]}, "Video 'v'.*TypeError"),
    ],
)
def test_malformed_results_are_named(results, message):
    with pytest.raises(ValueError, match=message):
        read_results({"results": results})


def test_columns_of_different_length_or_unlisted_videos_are_refused():
    with pytest.raises(ValueError, match="2 video ids, 1 labels and 1 segments"):
        SegmentTable.from_columns(["a", "b"], ["x"], [[0, 1]])
    with pytest.raises(ValueError, match="scores has shape"):
        SegmentTable.from_columns(["a"], ["x"], [[0, 1]], [0.1, 0.2])
    with pytest.raises(ValueError, match="not in all_video_ids, first 'a'"):
        SegmentTable.from_columns(["a"], ["x"], [[0, 1]], all_video_ids=["b"])
    with pytest.raises(ValueError, match="have no scores"):
        read_results(SegmentTable.from_columns(["a"], ["x"], [[0, 1]]))


def test_numpy_columns_and_numbered_labels_are_taken():
    table = SegmentTable.from_columns(np.array(["a", "b"]), np.array([7, 3]), np.array([[0, 1], [2, 3]]))
    assert table.video_ids == ("a", "b") and table.labels == (7, 3)


def test_activitynet_annotations_of_the_data_kit_are_read_whole(shared_data):
    path = shared_data / "annotations" / "activitynet_v1-3" / "activitynet_v1-3_train_val.json.gz"
    validation = read_ground_truth(path, "validation")
    training = read_ground_truth(path, "training")
    assert (len(validation.video_ids), len(validation), len(validation.labels)) == (4926, 7654, 200)
    assert (len(training.video_ids), len(training) + len(validation)) == (10024, 23064)


def test_thumos_annotations_of_the_data_kit_are_read_whole(shared_data):
    table = read_ground_truth(shared_data / "annotations" / "thumos14" / "thumos_gt.json.gz", "test")
    assert (len(table.video_ids), len(table.labels)) == (210, 20)
