"""What all localizers share: config, encoder, folder, pipeline."""
