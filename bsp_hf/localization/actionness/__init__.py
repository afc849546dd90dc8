"""Linear actionness: steps, framewise."""
