"""Fixtures of the tests of videos."""

from support.clips_of_names import clips  # noqa: F401 (a fixture)
