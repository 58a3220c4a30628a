"""The app: a transfer fails."""
