"""Commands about features: their extraction, and their export to other tools."""
