"""Feature tracks in files: every format, its record, and folders of them."""
