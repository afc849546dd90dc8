"""Files and folders that appear whole or not at all, also when the process is killed at any step."""

import os
import sys

import pytest

from bsp_hf import files
from bsp_hf.files import atomic_file, atomic_folder, atomic_write_bytes, atomic_write_text

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="a child process is killed at every step")


def write_set(folder, content):
    (folder / "deep").mkdir()
    (folder / "deep" / "weights").write_text(content)
    (folder / "record").write_text(content)


def read_folder(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


def whole(content):
    return {"deep/weights": content, "record": content}


def run_killed_at(step, function):
    """Run `function` in a child that is killed at its `step`-th call of the system; return whether it was."""
    child = os.fork()
    if child == 0:
        calls = 0

        def kill(event, _):
            nonlocal calls
            if event.split(".")[0] in ("open", "os", "shutil", "ctypes"):
                calls += 1
                if calls == step:
                    os._exit(9)

        try:
            sys.addaudithook(kill)
            function()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 9


def kill_at_every_step(function):
    step = 1
    while run_killed_at(step, function):
        yield step
        step += 1
    assert step > 5  # else the calls are not seen


def replace_set(target, content, **options):
    with atomic_folder(target, **options) as temporary:
        write_set(temporary, content)


def test_file_appears_at_the_end_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for content in ("first", "second"):
        with atomic_file(path) as temporary:
            temporary.write_text(content)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    atomic_write_text(path, "old\n")
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old\n"


def test_text_and_bytes_are_written_as_they_are(tmp_path):
    atomic_write_text(tmp_path / "a", "ä\nb\n")
    atomic_write_bytes(tmp_path / "b", b"\r\n\0")
    assert (tmp_path / "a").read_bytes() == "ä\nb\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\r\n\0"


def test_temporary_file_lies_in_scratch_if_given(tmp_path):
    (tmp_path / "scratch").mkdir()
    with atomic_file(tmp_path / "a", scratch=tmp_path / "scratch") as temporary:
        assert temporary.parent == tmp_path / "scratch"
        temporary.touch()
    assert (tmp_path / "a").is_file()
    assert not list((tmp_path / "scratch").iterdir())


@needs_fork
def test_file_is_old_or_new_wherever_the_process_is_killed(tmp_path):
    path = tmp_path / "a.txt"
    seen = set()
    for _ in kill_at_every_step(lambda: atomic_write_text(path, "new")):
        seen.add(path.read_text() if path.exists() else None)
        atomic_write_text(path, "old")
    assert seen == {None, "old", "new"}
    assert path.read_text() == "new"


def test_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "set"
    for name in ("first", "second"):
        with atomic_folder(target) as temporary:
            (temporary / name).write_text(name)
            assert not (target / name).exists()
    assert [file.name for file in target.iterdir()] == ["second"]
    assert [file.name for file in tmp_path.iterdir()] == ["set"]


def test_failure_leaves_the_old_folder_and_nothing_beside_it(tmp_path):
    target = tmp_path / "set"
    replace_set(target, "old")
    with pytest.raises(KeyboardInterrupt), atomic_folder(target) as temporary:
        (temporary / "record").write_text("new")
        raise KeyboardInterrupt
    assert read_folder(target) == whole("old")
    assert [file.name for file in tmp_path.iterdir()] == ["set"]


@needs_fork
@pytest.mark.parametrize("keep_others", [False, True])
def test_new_folder_is_whole_or_absent_wherever_the_process_is_killed(tmp_path, keep_others):
    target = tmp_path / "set"
    for _ in kill_at_every_step(lambda: replace_set(target, "new", keep_others=keep_others)):
        assert not target.exists() or read_folder(target) == whole("new")
        if target.exists():
            target.rename(tmp_path / "away")
            files.shutil.rmtree(tmp_path / "away")
    assert read_folder(target) == whole("new")
    assert [file.name for file in tmp_path.iterdir()] == ["set"]


@needs_fork
@pytest.mark.parametrize("keep_others", [False, True])
@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="no system call exchanges two folders")
def test_old_or_new_folder_stands_whole_wherever_the_process_is_killed(tmp_path, keep_others):
    target = tmp_path / "set"
    replace_set(target, "old")
    (target / "extra").write_text("kept")
    seen = []
    for _ in kill_at_every_step(lambda: replace_set(target, "new", keep_others=keep_others)):
        content = read_folder(target)
        extra = content.pop("extra", None)
        assert content in (whole("old"), whole("new"))
        assert extra == ("kept" if keep_others or content == whole("old") else None)
        seen.append(content["record"])
        replace_set(target, "old")
        assert [file.name for file in tmp_path.iterdir()] == ["set"]  # what was left is gone
        (target / "extra").write_text("kept")
    assert set(seen) == {"old", "new"}


@needs_fork
def test_without_exchange_the_next_call_restores_the_old_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    target = tmp_path / "set"
    replace_set(target, "old")
    absent = 0
    for _ in kill_at_every_step(lambda: replace_set(target, "new")):
        if not target.exists():
            absent += 1
            with pytest.raises(KeyboardInterrupt), atomic_folder(target):
                raise KeyboardInterrupt
            assert read_folder(target) == whole("old")
        assert read_folder(target) in (whole("old"), whole("new"))
        replace_set(target, "old")
        assert [file.name for file in tmp_path.iterdir()] == ["set"]
    assert absent == 1


def test_what_another_running_process_writes_is_left_alone(tmp_path):
    target = tmp_path / "set"
    with atomic_folder(target) as theirs:
        write_set(theirs, "theirs")
        replace_set(target, "ours")
        assert read_folder(theirs) == whole("theirs")
    assert read_folder(target) == whole("theirs")


@pytest.mark.skipif(sys.platform == "win32", reason="locks no folders")
def test_what_is_being_written_is_left_alone_whatever_clocks_and_names_say(tmp_path, monkeypatch):
    """Containers give one host name and process number twice, and a clock that is set moves start times."""
    monkeypatch.setattr(files, "is_running", lambda pid, started_s: False)
    with atomic_folder(tmp_path / "x") as first:
        (first / "a").write_text("first")
        with atomic_folder(tmp_path / "x") as second:
            (second / "b").write_text("second")
        assert (first / "a").read_text() == "first"
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_others_are_kept_if_asked(tmp_path):
    target = tmp_path / "set"
    replace_set(target, "old")
    (target / "deep" / "notes").write_text("mine")
    with atomic_folder(target, keep_others=True) as temporary:
        (temporary / "record").write_text("new")
    assert read_folder(target) == {"deep/weights": "old", "deep/notes": "mine", "record": "new"}


def test_what_others_are_not_to_be_kept_is_named_by_patterns(tmp_path):
    target = tmp_path / "set"
    replace_set(target, "old")
    (target / "weights-1").write_text("old")
    with atomic_folder(target, keep_others=True, without=["weights-?"]) as temporary:
        (temporary / "weights").write_text("new")
    assert read_folder(target) == {"deep/weights": "old", "record": "old", "weights": "new"}


def test_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk" / "set", target_is_directory=True)
    for content in ("old", "new"):
        replace_set(link, content)
        assert link.is_symlink()
        assert read_folder(tmp_path / "disk" / "set") == whole(content)


def test_a_volume_and_a_parent_without_permission_are_named(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os.path, "ismount", lambda path: True)
        with pytest.raises(OSError, match=r"set is a volume, .* pass a folder in it"):
            replace_set(tmp_path / "set", "new")
    monkeypatch.setattr(files.Path, "mkdir", lambda path, **options: refuse(path) if not options else None)
    with pytest.raises(PermissionError, match=r"permission to write in .*; pass a folder"):
        replace_set(tmp_path / "set", "new")
    assert list(tmp_path.iterdir()) == []


def test_file_where_a_folder_is_to_stand_is_refused(tmp_path):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(NotADirectoryError, match="set is a file"):
        replace_set(tmp_path / "set", "new")
    assert (tmp_path / "set").read_text() == "mine"
