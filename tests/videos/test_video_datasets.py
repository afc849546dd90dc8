"""Videos in data sets: which column they are in, their ids, bytes that are read late, stamps."""

import datasets
import pytest
from support.clips_of_names import count_frames

from bsp_hf.features import UnusableVideo
from bsp_hf.videos.datasets import DatasetCell, is_dataset, iter_dataset, read_dataset_videos
from bsp_hf.videos.items import LocalFile, RemoteFile, VideoBytes, stamp_bytes

CELL = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}


@pytest.mark.parametrize("is_streamed", [False, True])
def test_data_sets_with_a_column_of_videos(clips, is_streamed):
    rows = {"video": [str(clips / "b.mkv"), str(clips / "kitchen" / "a.mkv")], "key": ["first", "second"]}
    data = datasets.Dataset.from_dict(rows).cast_column("video", datasets.Video())
    data = data.to_iterable_dataset() if is_streamed else data
    assert is_dataset(data) and not is_dataset([1]) and not is_dataset("v")
    items = list(iter_dataset(data))
    assert [(item.video_id, count_frames(item)) for item in items] == [("b", 20), ("a", 12)]
    assert [item.video_id for item in iter_dataset(data, id_column="key")] == ["first", "second"]
    with pytest.raises(ValueError, match="no column 'film'; it has"):
        list(iter_dataset(data, video_column="film"))


def test_data_sets_of_bytes_paths_and_nonsense(clips):
    data = (clips / "c.mkv").read_bytes()
    items = list(iter_dataset(datasets.Dataset.from_dict({"mp4": [data, None], "__key__": ["k", "l"]})))
    assert items[0].video_id == "k" and count_frames(items[0]) == 5
    assert items[0].origin.stamp().startswith("sha256")
    assert isinstance(items[1], UnusableVideo) and "neither a path nor bytes" in items[1].reason
    (item,) = iter_dataset(datasets.Dataset.from_dict({"file": [str(clips / "b.mkv")]}))
    assert (item.video_id, count_frames(item)) == ("b", 20)
    with pytest.raises(ValueError, match=r"0 columns hold videos .*\['a'\]"):
        list(iter_dataset(datasets.Dataset.from_dict({"a": [1]})))


def make_cells(*cells, feature=CELL, **columns):
    features = datasets.Features({"video": feature, **{name: datasets.Value("string") for name in columns}})
    return datasets.Dataset.from_dict({"video": list(cells), **columns}, features=features)


def test_rows_of_a_table_are_read_when_they_are_opened(clips):
    data = (clips / "c.mkv").read_bytes()
    cells = ({"path": "a.mkv", "bytes": data}, {"path": str(clips / "b.mkv"), "bytes": None})
    table = make_cells(*cells, {"path": "hf://x/y.mp4", "bytes": None}, None, label=["1", "2", "3", None])
    videos = list(read_dataset_videos(table, others=("label",)))
    assert [video.path for video in videos] == ["a.mkv", str(clips / "b.mkv"), "hf://x/y.mp4", None]
    assert [type(video.origin) for video in videos] == [DatasetCell, LocalFile, RemoteFile, type(None)]
    assert [video.values["label"] for video in videos] == ["1", "2", "3", None]
    assert videos[0].origin.read() == data
    assert count_frames(videos[0]) == 5


@pytest.mark.parametrize("feature", [CELL, datasets.Video(), datasets.Value("binary")])
def test_streams_give_the_same_bytes_and_stamps_as_tables(clips, feature):
    contents = [(clips / name).read_bytes() for name in ("b.mkv", "c.mkv")]
    is_plain = feature == datasets.Value("binary")
    cells = [content if is_plain else {"path": None, "bytes": content} for content in contents]
    table = make_cells(*cells, feature=feature)
    stored, streamed = list(iter_dataset(table)), list(iter_dataset(table.to_iterable_dataset()))
    assert [type(item.origin) for item in stored + streamed] == 2 * [DatasetCell] + 2 * [VideoBytes]
    assert [item.origin.stamp() for item in stored] == [item.origin.stamp() for item in streamed]
    assert [count_frames(item) for item in stored + streamed] == [20, 5, 20, 5]


def test_shuffled_and_selected_rows_keep_their_bytes(clips):
    contents = [(clips / name).read_bytes() for name in ("b.mkv", "c.mkv", "kitchen/a.mkv")]
    table = make_cells(*({"path": None, "bytes": content} for content in contents))
    cells = [video.origin for video in read_dataset_videos(table.select([2, 0]))]
    assert [cell.read() for cell in cells] == [contents[2], contents[0]]


def test_stamps_of_bytes_follow_their_number_and_both_ends():
    data = bytes(200_000)
    stamps = {
        stamp_bytes(memoryview(changed))
        for changed in (data, data + b"\0", b"1" + data[1:], data[:-1] + b"1", b"", b"1", b"11")
    }
    assert len(stamps) == 7


def test_columns_that_hold_no_videos_are_refused(clips):
    table = make_cells({"path": "a.mp4", "bytes": None}, label=["x"])
    labels = table.add_column("number", [1])
    with pytest.raises(ValueError, match="column 'number' holds no videos"):
        list(read_dataset_videos(labels, "number"))
    with pytest.raises(ValueError, match="no column 'action'; it has video, label"):
        list(read_dataset_videos(table, others=("action",)))
    again = table.add_column("again", table["video"], feature=table.features["video"])
    with pytest.raises(ValueError, match="2 columns hold videos"):
        list(read_dataset_videos(again))
    assert [video.path for video in read_dataset_videos(again, "again")] == ["a.mp4"]
