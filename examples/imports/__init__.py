"""Mappings and plans for real logs."""
