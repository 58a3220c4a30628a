"""gRPC: one file per service, one table from error to status. Knows services, wire and v1; no storage."""
