"""The agent desk: whom a customer is handed to."""
