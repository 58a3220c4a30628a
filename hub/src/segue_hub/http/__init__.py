"""HTTP: the side port. Metrics, health, and events from whoever speaks no gRPC."""
