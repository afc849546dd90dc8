"""Encoders of the tables by name: the command that trains each, and streams of them side by side."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bsp_hf import BSPFeatureExtractor, BSPModel, save_checkpoint_folder

from .plan import Plan, Step, read_json, run_command

TRAIN, FUSE = "examples/pretrain.py", "examples/pretrain_fused.py"
BOUNDARIES = ("diff-class", "same-class", "diff-speed")
PRESETS = ("figure", "text", "robust", "consecutive")


@dataclass(frozen=True)
class Recipe:
    """What is trained, and by which script. `teachers` are recipes of frozen encoders of the same seed."""

    words: tuple[str, ...]
    script: str = TRAIN
    teachers: Mapping[str, str] = field(default_factory=dict)


def _make_recipes() -> dict[str, Recipe]:
    found = {
        "random": Recipe(("--task", "action", "--max_steps", "0")),
        "imagenet": Recipe(("--task", "action", "--max_steps", "0")),
        "vanilla": Recipe(("--task", "action")),
        "boundary": Recipe(("--task", "boundary")),
        "arrow-of-time": Recipe(("--task", "arrow-of-time")),
        "speed": Recipe(("--task", "speed")),
        "two-head": Recipe(("--fusion", "two-head"), FUSE),
        "distillation": Recipe(
            ("--fusion", "distillation"), FUSE, {"action_teacher": "vanilla", "boundary_teacher": "boundary"}
        ),
    }
    for name in BOUNDARIES:
        found[name] = Recipe(("--task", name))
        found[f"regression-{name}"] = Recipe(("--task", f"regression-{name}"))
    for name in PRESETS:
        found[f"boundary-{name}"] = Recipe(("--task", "boundary", "--synthesis", name))
    return found


RECIPES = _make_recipes()


@dataclass(frozen=True)
class Stream:
    """An encoder of a row: its recipe, and how much its seed lies above that of the row."""

    recipe: str
    seed_offset: int = 0


def streams(*recipes: str) -> tuple[Stream, ...]:
    """Return streams side by side; one that comes twice is of another seed the second time."""
    return tuple(Stream(name, recipes[:place].count(name)) for place, name in enumerate(recipes))


@dataclass(frozen=True)
class Encoder:
    """An encoder that is trained once, whatever rows it stands in."""

    backbone: str
    recipe: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.backbone}-{self.recipe}-{self.seed}"


@dataclass(frozen=True)
class Backbone:
    """What encoders start from.

    Args:
        title (`str`): What a table says.
        trained (`tuple[str, ...]`): Options of a training.
        fresh (`tuple[str, ...]`): Options that start the same network with random weights.
    """

    title: str
    trained: tuple[str, ...]
    fresh: tuple[str, ...]


@dataclass(frozen=True)
class Trainer:
    """Adds the training of encoders to a plan.

    Args:
        work (`Path`): Encoders are written below it.
        backbones (`Mapping[str, Backbone]`): By the name that encoders have.
        options (`tuple[str, ...]`): Of every training: data, length, optimizer.
        launch (`tuple[str, ...]`): What starts a script.
        extra (`tuple[str, ...]`): Options of the user, which come last and hold.
        aliases (`Mapping[str, str]`): Recipes that are the same as others here, and trained once.
        by_recipe (`Mapping[str, tuple[str, ...]]`): Further options of single recipes, which replace theirs.
    """

    work: Path
    backbones: Mapping[str, Backbone]
    options: tuple[str, ...]
    launch: tuple[str, ...] = ("python",)
    extra: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    by_recipe: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def recipe(self, name: str) -> str:
        """Return the recipe that stands for one here."""
        return self.aliases.get(name, name)

    def folder(self, encoder: Encoder) -> Path:
        return self.work / "encoders" / encoder.name

    def add(self, plan: Plan, encoder: Encoder) -> None:
        """Add the training of an encoder, behind that of its teachers."""
        recipe, folder = RECIPES[encoder.recipe], self.folder(encoder)
        teachers = {}
        for role, name in recipe.teachers.items():
            teacher = Encoder(encoder.backbone, self.recipe(name), encoder.seed)
            self.add(plan, teacher)
            teachers[role] = self.folder(teacher)
        words = [*self.launch, recipe.script, *self.options]
        backbone = self.backbones[encoder.backbone]
        words += backbone.fresh if encoder.recipe == "random" else backbone.trained
        words += [word for role, place in teachers.items() for word in (f"--{role}", str(place))]
        words += ["--seed", str(encoder.seed), *self.extra, *recipe.words]
        words += [*self.by_recipe.get(encoder.recipe, ()), "--output_dir", str(folder)]
        log = self.work / "logs" / "train" / f"{encoder.name}.log"

        def make() -> dict:
            run_command(words, log)
            if encoder.recipe == "imagenet":
                remove_shift(folder)
            return read_training(folder)

        plan.add(Step(f"train/{encoder.name}", tuple(words), make))


def remove_shift(folder: Path) -> None:
    """Save an encoder anew as a network of single frames, whose weights know no shift."""
    model = BSPModel.from_pretrained(folder, shift_place="none")
    save_checkpoint_folder(
        model, BSPFeatureExtractor.from_pretrained(folder), folder, read_json(folder / "training_record.json")
    )


def read_training(folder: Path) -> dict:
    """Return what a table needs of the record of a training."""
    record = read_json(folder / "training_record.json")
    last = record["history"][-1] if record["history"] else {}
    scores = {name: value for name, value in last.items() if isinstance(value, int | float)}
    return {
        "task": record["task"].rpartition("/")[2],  # of a class in a file without its folder
        "steps": record["steps_done"],
        "clips": record["clips_seen"],
        "num_sources": record["num_sources"],
        "mixed_precision": record["mixed_precision"],
        "hardware": record["hardware"],
        "time": record["time"],
        "scores": scores,
    }
