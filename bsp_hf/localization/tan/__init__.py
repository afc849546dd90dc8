"""2D-TAN: sentences on a map of start and end."""
