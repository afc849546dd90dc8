"""What a clip is joined from: shots as different cameras see them, and the transitions between them."""
