"""Files of annotation tools: BORIS, ELAN, CVAT, VIA, FiftyOne; one file a tool, reading and writing."""
