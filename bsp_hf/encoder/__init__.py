"""Videos in, snippet features out; ships inside every published checkpoint."""
