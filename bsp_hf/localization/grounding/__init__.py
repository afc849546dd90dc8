"""What localizing sentences shares: samples, queries, word vectors, decoding."""
