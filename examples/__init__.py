"""Examples that really run: each is run by a test."""
