"""Where facts are kept. Ports, and one backend per folder; nothing else in the hub knows a database."""
