"""What is random about a clip: presets, sampling, timelines, transitions, views and partners."""
