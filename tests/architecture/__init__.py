"""The house: what a glance should find, held."""
