"""Scenarios S1 to S11, each as its users live it."""
