"""The phone menu: a voice webhook that knows the caller."""
