"""Named presets of the synthesis: `--synthesis NAME`."""

from ..synthesis_config import SynthesisConfig

# What Figure 2 pins, what the text says, and what closes the shortcuts that both leave; docs/pretraining.md
# compares them.
SYNTHESIS_PRESETS: dict[str, SynthesisConfig] = {
    # Figure 2: i counts from 0, class rows are sparse, speed rows consecutive, gamma 2.5 is among the speeds.
    "figure": SynthesisConfig(
        preset="figure",
        speeds=(1.5, 2.0, 2.5, 3.0, 3.5, 4.0),
        first_index=0,
        rounding="up",
        class_sampling="clip_segments",
        action_sampling="segments",
        draws_change_point=True,
    ),
    # Eq. 1-3 as printed, with the uniform sampling of Sec. 3.2 and both directions of gamma.
    "text": SynthesisConfig(
        preset="text",
        speeds=(0.5, 2.0, 3.0, 4.0),
        class_sampling="segments",
        action_sampling="segments",
    ),
    "robust": SynthesisConfig(
        preset="robust",
        max_spacing=30,
        draws_change_point=True,
        transitions=("hard", "fade", "wipe", "zoom", "dissolve"),
        transition_half_widths=(1, 2),
        jump_counts=(0, 1, 1, 2),
        partner_choice="alike",
        action_sampling="segments",
    ),
    "consecutive": SynthesisConfig(),
}
