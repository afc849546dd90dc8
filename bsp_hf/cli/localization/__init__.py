"""Commands about localization: segments of videos, and their scores."""
