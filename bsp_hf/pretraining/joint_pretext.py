"""Clips with two labels, a boundary type and an action, for encoders that learn both (Sec. 3.4)."""

from collections.abc import Sequence

import numpy as np

from bsp_hf.encoder.configuration_bsp import BoundaryType
from bsp_hf.encoder.modeling_two_head import NO_ACTION

from .pretexts import BoundaryClassification
from .sources import SourceCatalog
from .synthesis import ClipPlan, SynthesisConfig


class BoundaryWithAction(BoundaryClassification):
    """Tell the four boundary types apart, and the action wherever a clip shows a single one.

    A diff-class clip shows two actions, so it has no action label; all others have that of their source.

    Args:
        synthesis (`SynthesisConfig`): The settings of synthesized clips.
        action_names (`tuple[str, ...]`): The actions to tell apart; sources of others are left out.

    Raises:
        ValueError: If there are fewer than two actions.
    """

    head = "two-head"

    def __init__(self, synthesis: SynthesisConfig, action_names: tuple[str, ...]):
        super().__init__(synthesis)
        if len(action_names) < 2:
            raise ValueError(
                f"learning actions needs at least two classes, got {list(action_names)}; lay the videos "
                "out as CLASS/clip.mp4."
            )
        self.action_names = action_names

    def usable(self, catalog: SourceCatalog) -> np.ndarray:
        """Return the sources that every boundary type can start from, and whose action has a number."""
        usable = super().usable(catalog)
        named = [catalog.sources[index].label in self.action_names for index in usable]
        return usable[np.array(named, dtype=bool)]

    def target(  # type: ignore[override]  # two labels where the base has one
        self, case: int, anchor: int, plan: ClipPlan, catalog: SourceCatalog
    ) -> np.ndarray:
        """Return the boundary type and the action, int64 `(2,)`; the action is -100 where there are two."""
        action = self.action_names.index(catalog.sources[anchor].label)
        return np.array([case, action if self.has_action(case) else NO_ACTION], dtype=np.int64)

    def has_action(self, case: int) -> bool:
        """Return whether the clips of a case show a single action."""
        return self.kinds[case] is not BoundaryType.DIFF_CLASS

    def action_share(self, cases: Sequence[int]) -> float:
        """Return the share of clips that show a single action.

        Args:
            cases (`Sequence[int]`): The cases of an epoch, as `PretextClips.cases` has them.

        Returns:
            `float`: In [0, 1].
        """
        return sum(map(self.has_action, cases)) / len(cases)


__all__ = ["BoundaryWithAction"]
