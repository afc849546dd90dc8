"""Tables of videos: names of columns, missing cells, and messages that name the line."""

import pytest

from bsp_hf.videos.tables import read_table


def read(folder, text, *options, encoding="utf-8"):
    (folder / "t.csv").write_bytes(text.encode(encoding))
    return list(read_table(folder / "t.csv", *options))


def test_columns_have_several_names_and_cells_no_space_around_them(tmp_path):
    (row,) = read(
        tmp_path, " File_Name ,Class,start,split,extra\n a b.mp4 , run ,1.5,,x\n", encoding="utf-8-sig"
    )
    assert dict(row.values) == {
        "file": "a b.mp4",
        "id": "",
        "start_s": "1.5",
        "end_s": "",
        "label": "run",
        "split": "",
        "group": "",
    }
    assert row.read_seconds("start_s") == 1.5
    assert row.read_seconds("end_s") is None


def test_lines_are_counted_in_the_file_and_blank_ones_passed_over(tmp_path):
    rows = read(tmp_path, 'file,class\na.mp4,"two\nlines"\n\nb.mp4,x\n')
    assert [row.place.rpartition(" ")[2] for row in rows] == ["3", "5"]


def test_missing_columns_cells_and_files_are_named(tmp_path):
    columns = r"needs the columns file \(or file_name, path, video\) and class \(or label\)"
    with pytest.raises(ValueError, match=columns):
        read(tmp_path, "file,name\n", ("file", "label"))
    with pytest.raises(ValueError, match=r"t\.csv, line 2: the row lacks class"):
        read(tmp_path, "file,class\na.mp4\n", ("file", "label"))
    assert read(tmp_path, "file,class\na.mp4,\n", ("file", "label"))[0]["label"] == ""
    with pytest.raises(ValueError, match=r"t\.csv, line 2: the row lacks path"):
        read(tmp_path, "path,class\n,run\n")


def test_what_is_no_csv_file_in_utf8_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"t\.csv is not a CSV file in UTF-8"):
        read(tmp_path, "file\nfür.mp4\n", encoding="latin-1")
