"""Tables 1 to 7 of the paper: rows, columns, the paper's numbers, and which rows are compared."""

from collections.abc import Sequence
from dataclasses import dataclass

from .recipes import BOUNDARIES, PRESETS, Stream, streams

Numbers = tuple[float | None, ...]


@dataclass(frozen=True)
class Column:
    """A column: its head, the metric as `bsp-hf eval` names it, and whose it is if not the row's."""

    head: str
    metric: str
    localizer: str | None = None


@dataclass(frozen=True)
class Row:
    """A row.

    Args:
        method (`str`): What the paper calls it.
        paper (`tuple`): The paper's numbers in percent, one a column; `None` where it has none.
        streams (`tuple[Stream, ...]`): Encoders whose features are joined; none for methods of other papers.
        localizer (`str`, *optional*): The localizer, where columns do not name it.
        backbone (`str`, *optional*): Which of the scale's backbones, where it is not the table's.
        has_claim (`bool`): Whether a claim of the paper rests on it, which takes more seeds.
        is_extra (`bool`): Whether the paper's table lacks it.
    """

    method: str
    paper: Numbers
    streams: tuple[Stream, ...] = ()
    localizer: str | None = None
    backbone: str | None = None
    has_claim: bool = False
    is_extra: bool = False


@dataclass(frozen=True)
class Comparison:
    """A claim: the first row lies above the second. Rows by the recipes of their streams."""

    text: str
    ours: tuple[Stream, ...]
    theirs: tuple[Stream, ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        name (`str`): Its number, or its name where the paper has none like it.
        title (`str`): Its title.
        holds (`str`): What it tells, for the page that shows it.
        columns (`tuple[Column, ...]`): Columns.
        rows (`tuple[Row, ...]`): Rows.
        backbone (`str`): Which of the scale's backbones: `"main"`, or `"ablation"` for the paper's
            ResNet-18.
        comparisons (`tuple[Comparison, ...]`): Claims, tested by drawing videos.
        has_correlation (`bool`): Whether the order of its rows is compared with the paper's.
        head (`str`): Head of the first column.
    """

    name: str
    title: str
    holds: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    backbone: str = "main"
    comparisons: tuple[Comparison, ...] = ()
    has_correlation: bool = False
    head: str = "Method"

    def localizers(self, row: Row) -> list[str]:
        """Return the localizers that a row needs, each once."""
        names = [column.localizer or row.localizer for column in self.columns] if row.streams else []
        return list(dict.fromkeys(name for name in names if name is not None))


VANILLA, BOUNDARY = streams("vanilla"), streams("boundary")
BOTH, ENSEMBLE = streams("vanilla", "boundary"), streams("vanilla", "vanilla")
RANDOM, IMAGENET = streams("random"), streams("imagenet")

# The chain that the package claims; the first one shows that the protocol can judge at all.
CHAIN = (
    Comparison("ImageNet weights above random ones: the protocol tells encoders apart", IMAGENET, RANDOM),
    Comparison("boundary alone above random", BOUNDARY, RANDOM),
    Comparison("vanilla above boundary alone", VANILLA, BOUNDARY),
    Comparison("vanilla + boundary above vanilla", BOTH, VANILLA),
    Comparison("vanilla + boundary above two vanillas, of the same width", BOTH, ENSEMBLE),
)

DETECTION = (
    Column("0.5", "map@0.5"),
    Column("0.75", "map@0.75"),
    Column("0.95", "map@0.95"),
    Column("Average", "average_map"),
)
GROUNDING = (
    Column("R@0.3", "recall@1,0.3"),
    Column("R@0.5", "recall@1,0.5"),
    Column("R@0.7", "recall@1,0.7"),
    Column("mIoU", "mean_iou"),
)


def _cited(name: str, *numbers: float | None) -> Row:
    return Row(name, numbers)


def _extras(localizer: str, name: str, width: int) -> tuple[Row, ...]:
    """Return the rows of miniature tables that the paper's have not: what both ends of the claim are."""
    nothing = (None,) * width
    rows = {
        "random": RANDOM,
        "ImageNet": IMAGENET,
        "BSP alone": BOUNDARY,
        "two vanillas": ENSEMBLE,
    }
    return tuple(
        Row(f"{name}, {what}", nothing, some, localizer, has_claim=True, is_extra=True)
        for what, some in rows.items()
    )


TABLE_1 = Table(
    "1",
    "Temporal action localization (ActivityNet-1.3 in the paper)",
    "mAP of G-TAD on features of the vanilla encoder, without and with the boundary encoder beside it",
    DETECTION,
    (
        _cited("Singh et al.", 34.47, None, None, None),
        _cited("Wang et al.", 43.65, None, None, None),
        _cited("Chao et al.", 38.23, 18.30, 1.30, 20.22),
        _cited("SCC", 40.00, 17.90, 4.70, 21.70),
        _cited("CDC", 45.30, 26.00, 0.20, 23.80),
        _cited("R-C3D", 26.80, None, None, None),
        _cited("BSN", 46.45, 29.96, 8.02, 30.03),
        _cited("P-GCN", 48.26, 33.16, 3.27, 31.11),
        _cited("BMN", 50.07, 34.78, 8.29, 33.85),
        _cited("BC-GNN", 50.56, 34.75, 9.37, 34.26),
        _cited("G-TAD", 50.36, 34.60, 9.02, 34.09),
        Row("G-TAD*", (50.01, 35.07, 8.02, 34.26), VANILLA, "gtad", has_claim=True),
        Row("G-TAD*+BSP (Ours)", (50.94, 35.61, 7.98, 34.75), BOTH, "gtad", has_claim=True),
        *_extras("gtad", "G-TAD", 4),
    ),
    comparisons=CHAIN,
)

TABLE_2 = Table(
    "2",
    "Video grounding (Charades-STA in the paper)",
    "recall of 2D-TAN and LGI for sentences, without and with the boundary encoder",
    GROUNDING,
    (
        _cited("CTRL", None, 21.42, 7.15, None),
        _cited("SMRL", None, 24.36, 9.01, None),
        _cited("SAP", None, 27.42, 13.36, None),
        _cited("MLVI", 54.70, 35.60, 15.80, None),
        _cited("MAN", None, 46.53, 22.72, None),
        _cited("DRN", None, 53.09, 31.75, None),
        _cited("2D-TAN", None, 42.80, 23.25, None),
        Row("2D-TAN*", (None, 48.36, 27.88, None), VANILLA, "tan", has_claim=True),
        Row("2D-TAN*+BSP", (None, 51.64, 29.57, None), BOTH, "tan", has_claim=True),
        *_extras("tan", "2D-TAN", 4),
        Row("LGI*", (60.67, 45.65, 23.87, 43.40), VANILLA, "lgi", has_claim=True),
        Row("LGI*+BSP", (68.76, 53.63, 29.27, 50.55), BOTH, "lgi", has_claim=True),
        *_extras("lgi", "LGI", 4),
    ),
    comparisons=CHAIN,
)

TABLE_3 = Table(
    "3",
    "Step localization (CrossTask in the paper)",
    "framewise average precision of a linear actionness classifier, pooled over all segments of 0.2 s",
    (Column("AP", "pooled_ap"),),
    (
        _cited("Linear clf. [84], HowTo100M, supervised", 56.2),
        _cited("Zhukov et al. [84], HowTo100M, not supervised", 47.6),
        Row("Linear clf.", (46.9,), VANILLA, "actionness", has_claim=True),
        Row("Linear clf. + BSP", (48.1,), BOTH, "actionness", has_claim=True),
        *_extras("actionness", "Linear clf.", 1),
    ),
    comparisons=CHAIN,
)

TABLE_4 = Table(
    "4",
    "Feature fusion methods",
    "the vanilla encoder alone and fused with the boundary encoder in three ways, by 2D-TAN and by G-TAD",
    (
        Column("2D-TAN 0.5", "recall@1,0.5", "tan"),
        Column("2D-TAN 0.7", "recall@1,0.7", "tan"),
        *(Column(f"G-TAD {column.head}", column.metric, "gtad") for column in DETECTION),
    ),
    (
        Row("vanilla", (39.78, 22.15, 49.64, 34.16, 7.68, 33.59), VANILLA),
        Row("2-stream", (44.01, 24.95, 50.09, 34.66, 7.95, 33.96), BOTH),
        Row("2-head", (39.95, 22.85, 49.50, 34.00, 8.38, 33.54), streams("two-head")),
        Row("feat dist", (44.65, 24.73, 49.67, 34.40, 7.74, 33.74), streams("distillation")),
    ),
    "ablation",
    (Comparison("2-stream above vanilla", BOTH, VANILLA),),
    has_correlation=True,
)

_TASKS = {"diff-class": "S_dc", "same-class": "S_sc", "diff-speed": "S_ds"}
_REGRESSION = ((40.88, 26.64, 5.73, 26.56), (42.48, 27.78, 6.56, 27.75), (44.00, 29.05, 4.82, 28.77))
_BINARY = ((44.32, 29.16, 6.66, 29.17), (44.24, 29.20, 6.25, 29.09), (45.00, 29.89, 6.47, 29.75))

TABLE_5 = Table(
    "5",
    "Boundary-sensitive pretext tasks",
    "every boundary task alone, by regression and by classification, between random weights and vanilla",
    DETECTION,
    (
        Row("random baseline", (40.44, 24.99, 6.85, 25.58), RANDOM, "gtad"),
        *(
            Row(f"{{{_TASKS[name]}}} reg", numbers, streams(f"regression-{name}"), "gtad")
            for name, numbers in zip(BOUNDARIES, _REGRESSION, strict=True)
        ),
        *(
            Row(f"{{{_TASKS[name]}, S_ss}} cls", numbers, streams(name), "gtad")
            for name, numbers in zip(BOUNDARIES, _BINARY, strict=True)
        ),
        Row("S cls", (45.39, 30.26, 6.33, 29.97), BOUNDARY, "gtad"),
        Row("vanilla baseline", (49.64, 34.16, 7.68, 33.59), VANILLA, "gtad"),
    ),
    "ablation",
    (Comparison("all four boundaries above random", BOUNDARY, RANDOM),),
    has_correlation=True,
    head="Task",
)

TABLE_6 = Table(
    "6",
    "Model capacity",
    "two depths, the boundary encoder alone and beside the vanilla encoder",
    DETECTION,
    (
        Row("shallow, BSP", (45.39, 30.26, 6.33, 29.97), BOUNDARY, "gtad", "shallow"),
        Row("deep, BSP", (46.30, 30.90, 6.28, 30.65), BOUNDARY, "gtad", "deep"),
        Row("shallow, fused", (50.09, 34.66, 7.95, 33.96), BOTH, "gtad", "shallow"),
        Row("deep, fused", (50.94, 35.61, 7.98, 34.75), BOTH, "gtad", "deep"),
    ),
    has_correlation=True,
    head="Backbone",
)

TABLE_7 = Table(
    "7",
    "Other pre-training methods",
    "the vanilla encoder beside one of another pre-training: boundaries, arrow of time, speed, a second "
    "vanilla (the paper's ensemble), random weights",
    DETECTION,
    (
        Row("baseline", (49.64, 34.16, 7.68, 33.59), VANILLA, "gtad", has_claim=True),
        Row("Arrow", (49.79, 34.48, 7.70, 33.72), streams("vanilla", "arrow-of-time"), "gtad"),
        Row("Speed", (49.84, 34.11, 7.50, 33.75), streams("vanilla", "speed"), "gtad"),
        Row("BSP (ours)", (50.09, 34.66, 7.95, 33.96), BOTH, "gtad", has_claim=True),
        Row("ensemble", (49.80, 34.27, 8.38, 33.74), ENSEMBLE, "gtad", has_claim=True),
        Row("random", (None,) * 4, streams("vanilla", "random"), "gtad", is_extra=True),
    ),
    "ablation",
    (
        Comparison("BSP above the ensemble", BOTH, ENSEMBLE),
        Comparison("BSP above the arrow of time", BOTH, streams("vanilla", "arrow-of-time")),
        Comparison("BSP above speed", BOTH, streams("vanilla", "speed")),
    ),
    has_correlation=True,
)

TABLE_PRESETS = Table(
    "presets",
    "Presets of the synthesis",
    "the boundary encoder of every preset, alone and beside the vanilla encoder; not in the paper",
    DETECTION,
    tuple(
        Row(f"{name}, {'fused' if beside else 'alone'}", (None,) * 4, some, "gtad")
        for beside in (False, True)
        for name in PRESETS
        for some in [streams(*(["vanilla"] if beside else []), f"boundary-{name}")]
    ),
    "ablation",
    head="Preset",
)

TABLES = {
    table.name: table
    for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_PRESETS)
}


def rows_of(table: Table, with_extras: bool) -> Sequence[Row]:
    """Return the rows of a table, those that the paper lacks only where they are asked for."""
    return [row for row in table.rows if with_extras or not row.is_extra]
