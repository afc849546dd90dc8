"""A preparation as a job: what is left to do, on several processes, recorded as it is done."""

import csv
import io
import json
import logging
import shutil
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from bsp_hf.features.extraction.failures import failures_table
from bsp_hf.features.extraction.lock import lock_file
from bsp_hf.files import atomic_write_text, check_video_id, escape_controls
from bsp_hf.version import __version__
from bsp_hf.videos.items import LocalFile

from ..prepared_store import COLUMNS, FORMAT_VERSION, PLACES, STORE_FILE, VIDEOS_FILE
from ..sources import TrimmedVideo, relative_names
from .encoding import PreparedUnit, UnitResult, write_unit
from .settings import PreparationSettings

logger = logging.getLogger(__name__)

FAILURES_FILE = "failures.csv"
_CRASH = "the process that read it ended, by a crash or for want of memory"
_JOURNAL, _SCRATCH, _LOCK = ".journal.jsonl", ".scratch", ".lock"
_CARD = """---
configs:
- config_name: default
  data_files:
{files}---

Frames of trimmed videos for boundary-sensitive pre-training, written by bsp_hf {version}: one row a video,
its frames as JPEG with a short side of {short_side} pixels.
"""


@dataclass(frozen=True)
class PreparationReport:
    """What a preparation did."""

    output: Path
    num_prepared: int  # videos in the store
    num_new: int  # of them written now
    failures: tuple[tuple[str, str], ...]  # name and reason

    def __str__(self) -> str:
        lines = [f"{self.output}: {self.num_prepared} videos, {self.num_new} of them prepared now"]
        if self.failures:
            lines.append(f"{len(self.failures)} broken or in part only, listed in {FAILURES_FILE}:")
            lines += [f"  {escape_controls(name)}: {reason}" for name, reason in self.failures[:20]]
            hidden = len(self.failures) - 20
            lines += [f"  and {hidden} more"] if hidden > 0 else []
        return "\n".join(lines)


def prepare_videos(
    sources: Sequence[TrimmedVideo],
    output: str | Path,
    settings: PreparationSettings | None = None,
    *,
    root: Path | None = None,
    show_progress: bool = False,
) -> PreparationReport:
    """Write a store of videos that training reads many times as fast as the originals.

    Started again, it goes on where it stopped. A file that has changed is written anew; one that cannot be
    read stops no other, and is tried again when it changes, or with `retry_failed`.

    Args:
        sources (`Sequence[TrimmedVideo]`): The videos, as `scan_video_folder` lists them.
        output (`str` or `Path`): Folder of the store.
        settings (`PreparationSettings`, *optional*): Form, size, quality, processes.
        root (`Path`, *optional*): Folder whose layout the store repeats; by default the one that all have
            in common.
        show_progress (`bool`, *optional*, defaults to `False`): Whether to show a bar on a terminal.

    Returns:
        `PreparationReport`: How many there are, and which failed.

    Raises:
        ValueError: If the folder holds something else, a store of other settings, or is in use.
    """
    settings = settings or PreparationSettings()
    folder = Path(output)
    if root is not None and root.resolve() in folder.resolve().parents:
        raise ValueError(
            f"{folder} lies in {root}, whose clips would be those of the store too; pass another."
        )
    units, refused = _plan(sources, settings, root)
    record = {"format_version": FORMAT_VERSION, **settings.lasting()}
    _check_output(folder, record)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / _SCRATCH
    with lock_file(folder / _LOCK, f"{folder} is in use: another process prepares videos in it."):
        record |= {"classes": sorted({source.label for source in sources} - {""}), "version": __version__}
        _write_record(folder, record, finished=False)
        shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
        scratch.mkdir()
        try:
            done = _read_journal(folder, units, settings.retry_failed)
            num_before = sum(len(result["rows"]) for result in done.values())
            todo = [unit for unit in units if unit.file not in done]
            num_videos = sum(len(unit.videos) for unit in units)
            with (
                (folder / _JOURNAL).open("a", encoding="utf-8") as journal,
                tqdm(
                    total=num_videos,
                    initial=num_videos - sum(len(unit.videos) for unit in todo),
                    desc="preparing",
                    unit="video",
                    disable=None if show_progress else True,
                ) as bar,
            ):
                for unit, result in _write_units(todo, folder, scratch, settings):
                    entry = {"inputs": _inputs(unit), "rows": result.rows, "failures": result.failures}
                    done[unit.file] = entry
                    journal.write(json.dumps({"file": unit.file, **entry}) + "\n")
                    journal.flush()
                    bar.update(len(unit.videos))
            return _finish(folder, record, units, done, refused, num_before)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _plan(
    sources: Sequence[TrimmedVideo], settings: PreparationSettings, root: Path | None
) -> tuple[list[PreparedUnit], list[tuple[str, str]]]:
    """Return what is to be written, and the names that no file of a store can have, each with the reason."""
    if not sources:
        raise ValueError("there is no video to prepare.")
    found = (
        [source.path.relative_to(root).as_posix() for source in sources]
        if root is not None
        else relative_names(sources)
    )
    refused: dict[str, str] = {}
    for name in found:
        try:
            check_video_id(name)
        except ValueError as error:
            refused[name] = str(error)
    sources = [source for source, name in zip(sources, found, strict=True) if name not in refused]
    names = [name for name in found if name not in refused]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is listed twice.")
    if settings.form != "jpeg":
        files = [name if name.endswith(".mp4") else f"{name}.mp4" for name in names]
        # The name of one may be that of another with the suffix.
        taken = {name for name in names if name.endswith(".mp4")}
        clash = next((f for f, n in zip(files, names, strict=True) if f != n and f in taken), None)
        if clash:
            raise ValueError(f"{clash} and {clash.removesuffix('.mp4')} would be one file; rename either.")
        single = [
            PreparedUnit(file, (source,), (name,))
            for file, source, name in zip(files, sources, names, strict=True)
        ]
        return single, list(refused.items())
    units = []
    for split in dict.fromkeys(source.split for source in sources):
        members = iter([(s, n) for s, n in zip(sources, names, strict=True) if s.split == split])
        number = 0
        while part := list(islice(members, settings.videos_per_shard)):
            videos, part_names = zip(*part, strict=True)
            units.append(PreparedUnit(f"{split or 'videos'}-{number:05d}.arrow", videos, part_names))
            number += 1
    return units, list(refused.items())


def _check_output(folder: Path, record: dict[str, Any]) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; pass a folder.")
    try:
        before = json.loads((folder / STORE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{folder} holds something else than prepared videos; pass an empty folder."
        ) from None
    except ValueError as error:
        raise ValueError(f"{folder / STORE_FILE} cannot be read ({error}); delete the folder.") from error
    changes = [
        f"{name} {before.get(name)!r} there, {value!r} now"
        for name, value in record.items()
        if before.get(name) != value
    ]
    if changes:
        raise ValueError(
            f"{folder} holds videos prepared otherwise ({'; '.join(changes)}); pass another folder, or "
            "delete it."
        )


def _write_record(folder: Path, record: dict[str, Any], finished: bool) -> None:
    atomic_write_text(folder / STORE_FILE, json.dumps({**record, "finished": finished}, indent=1) + "\n")


def _inputs(unit: PreparedUnit) -> list[list[str]]:
    """Return what makes a unit be written anew when it changes."""
    inputs = []
    for name, video in zip(unit.names, unit.videos, strict=True):
        try:
            # Without the folder, which may move.
            stamp = (video.origin or LocalFile(video.path)).stamp()
        except OSError as error:
            stamp = str(error)
        # Shards hold these beside the frames.
        facts = [video.label, video.split, video.group] if unit.file.endswith(".arrow") else []
        inputs.append([name, stamp, *facts])
    return inputs


def _read_journal(
    folder: Path, units: Sequence[PreparedUnit], retry_failed: bool
) -> dict[str, dict[str, Any]]:
    """Return the entries of units that need not be written again."""
    try:
        lines = (folder / _JOURNAL).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # the last line of a process that was killed
            continue
        if isinstance(entry, dict) and entry.keys() == {"file", "inputs", "rows", "failures"}:
            found[entry.pop("file")] = entry
    # Also what it had not finished may be read once more by the next.
    if lines:
        text = "".join(json.dumps({"file": file, **entry}) + "\n" for file, entry in found.items())
        atomic_write_text(folder / _JOURNAL, text)
    done = {}
    for unit in units:
        entry = found.get(unit.file, {})
        if entry.get("inputs") != _inputs(unit) or (retry_failed and entry["failures"]):
            continue
        if entry["rows"] and not (folder / unit.file).is_file():
            continue
        done[unit.file] = entry
    return done


def _write_units(
    units: Sequence[PreparedUnit], folder: Path, scratch: Path, settings: PreparationSettings
) -> Iterator[tuple[PreparedUnit, UnitResult]]:
    """Yield each unit when it is written; the end of a process is the failure of the unit that it was at."""
    place = (folder, scratch, settings)
    if settings.num_workers == 0:
        for unit in units:
            yield unit, write_unit(unit, *place)
        return
    waiting = deque(units)
    while waiting:
        running: dict[Future, PreparedUnit] = {}
        with _open_pool(settings.num_workers) as pool:
            try:
                while running or waiting:
                    while waiting and len(running) < 2 * settings.num_workers:
                        running[pool.submit(write_unit, waiting[0], *place)] = waiting[0]
                        waiting.popleft()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        result = future.result()
                        yield running.pop(future), result
            except BrokenProcessPool:
                logger.warning(
                    "a process that prepares videos has ended; those it may have been at come again"
                )
        for unit in running.values():  # one of these was the last of a process
            yield unit, _write_apart(unit, *place)


def _write_apart(
    unit: PreparedUnit, folder: Path, scratch: Path, settings: PreparationSettings
) -> UnitResult:
    """Write a unit in a process of its own, without the videos that end a process."""
    with _open_pool(1) as pool, suppress(BrokenProcessPool):
        return pool.submit(write_unit, unit, folder, scratch, settings).result()
    if len(unit.videos) == 1:
        return UnitResult(failures=[(unit.names[0], _CRASH)])
    failures: list[tuple[str, str]] = []
    rest = []
    for name, video in zip(unit.names, unit.videos, strict=True):
        alone = PreparedUnit(f"{_SCRATCH}/alone.arrow", (video,), (name,))
        found = _write_apart(alone, folder, scratch, settings).failures
        if (name, _CRASH) in found:
            failures += found
        else:
            rest.append((video, name))
    videos, names = zip(*rest, strict=True) if rest else ((), ())
    result = write_unit(PreparedUnit(unit.file, videos, names), folder, scratch, settings)
    result.failures += failures
    return result


@contextmanager
def _open_pool(num_workers: int) -> Iterator[ProcessPoolExecutor]:
    # One thread each: the processes take the cores, and threads of OpenMP do not survive a fork.
    pool = ProcessPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _finish(
    folder: Path,
    record: dict[str, Any],
    units: Sequence[PreparedUnit],
    done: dict[str, dict[str, Any]],
    refused: Sequence[tuple[str, str]],
    num_before: int,
) -> PreparationReport:
    rows, failures = [], list(refused)
    for unit in units:
        facts = {row["name"]: row for row in done[unit.file]["rows"]}
        for name, video in zip(unit.names, unit.videos, strict=True):
            if name in facts:
                shown = {"class": video.label, "split": video.split, "group": video.group}
                rows.append(facts[name] | shown)
        failures += [(name, reason) for name, reason in done[unit.file]["failures"]]
    failures.sort()
    if failures:
        atomic_write_text(folder / FAILURES_FILE, failures_table(failures))
    else:
        (folder / FAILURES_FILE).unlink(missing_ok=True)
    if not rows:
        raise ValueError(
            f"none of the {len(failures)} videos can be read; {folder / FAILURES_FILE} says why."
        )
    text = io.StringIO()
    columns = csv.DictWriter(text, [*COLUMNS, *PLACES], lineterminator="\n")
    columns.writeheader()
    columns.writerows(rows)
    atomic_write_text(folder / VIDEOS_FILE, text.getvalue())
    if record["form"] == "jpeg":
        _finish_shards(folder, record, {row["file"] for row in rows})
    _write_record(folder, record, finished=True)
    return PreparationReport(folder, len(rows), len(rows) - num_before, tuple(failures))


def _finish_shards(folder: Path, record: dict[str, Any], files: set[str]) -> None:
    """Delete shards that no row names, and write the card by which `load_dataset` reads the rest."""
    for shard in folder.glob("*.arrow"):
        if shard.name not in files:
            shard.unlink()
    splits = sorted({file.rpartition("-")[0] for file in files})
    listed = "".join(
        f"  - split: {'train' if split == 'videos' else split}\n    path: {split}-*.arrow\n"
        for split in splits
    )
    card = _CARD.format(files=listed, version=record["version"], short_side=record["short_side"])
    atomic_write_text(folder / "README.md", card)
