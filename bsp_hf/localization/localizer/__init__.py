"""Shared by all localizers: config, encoder, folder, pipeline."""
