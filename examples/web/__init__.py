"""The website: a slot that helps instead of selling."""
