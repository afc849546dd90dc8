"""Feature layouts of other tools: read and written."""
