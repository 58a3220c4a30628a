"""Use cases of the hub. They know ports and domain; nothing of gRPC, HTTP or SQL."""
