"""Controls of what synthesized clips give away: shallow classifiers, exchanged transitions."""
