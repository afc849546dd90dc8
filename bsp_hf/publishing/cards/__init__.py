"""Model cards: facts and templates."""
