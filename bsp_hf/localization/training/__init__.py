"""Shared by the trainings of localizers: settings, task, split, schedule."""
