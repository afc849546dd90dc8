"""What is known of published checkpoint files: settings by name, fields of the model card by digest."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TSM_NAME = re.compile(
    r"TSM_(?P<dataset>.+?)_(?P<modality>RGBDiff|RGB|Flow)_(?P<arch>[A-Za-z0-9]+)"
    r"(?:_shift(?P<shift_div>\d+)_(?P<shift_place>[a-z]+))?(?:_tpool)?"
    r"_(?P<consensus>[a-z]+)_segment(?P<num_frames>\d+)"
)
_MMACTION2_NAME = re.compile(r"ts[mn]_(?:.*[_-])?1x1x(?P<num_frames>\d+)[_-]")
# Fields of the model card by SHA-256 of the file.
_CARDS = Path(__file__).with_name("known_files.json")


@dataclass(frozen=True)
class FileNameFacts:
    """What the name of a published TSM checkpoint contains; `None` for what it does not."""

    num_frames: int
    shift_div: int | None = None
    shift_place: str | None = None
    architecture: str | None = None


def parse_checkpoint_name(path: str | Path) -> FileNameFacts | None:
    """Return the settings in the name of a published checkpoint; `None` if it follows no known convention.

    The names are those of TSM's own code, given to the file or, by its training script, to the folder around
    it (`TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e50.pth`), and of mmaction2
    (`tsm_r50_1x1x8_50e_kinetics400_rgb_...pth`), which holds the number of frames alone.
    """
    path = Path(path).absolute()
    for name in (path.name, path.parent.name):
        if match := _TSM_NAME.match(name):
            return FileNameFacts(
                num_frames=int(match["num_frames"]),
                shift_div=int(match["shift_div"]) if match["shift_div"] else None,
                shift_place=match["shift_place"] or "none",
                architecture=match["arch"],
            )
    match = _MMACTION2_NAME.match(path.name)
    return FileNameFacts(num_frames=int(match["num_frames"])) if match else None


def describe_known_file(sha256: str) -> dict[str, Any]:
    """Return the entry `card` for the record of a conversion; nothing for an unknown file."""
    cards = json.loads(_CARDS.read_text(encoding="utf-8"))
    return {"card": cards[sha256]} if sha256 in cards else {}
