"""What a video is and where its bytes are."""
