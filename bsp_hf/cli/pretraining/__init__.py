"""Commands about pre-training: the synthesis of clips, and the training itself."""
