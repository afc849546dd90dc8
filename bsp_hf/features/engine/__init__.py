"""The fast encoder and the threads that feed it."""
