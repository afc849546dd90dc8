"""An encoder and a folder of videos in, feature tracks out."""
