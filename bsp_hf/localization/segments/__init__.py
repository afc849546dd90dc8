"""Videos to segments without labels: kinds of change, file formats, clips."""
