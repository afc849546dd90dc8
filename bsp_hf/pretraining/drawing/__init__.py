"""Which frames a clip shows: presets, sampling, timelines and partners."""
