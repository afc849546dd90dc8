"""Feature tracks and annotations in, segments in seconds out."""
