"""The chat: a page, a websocket, a decision."""
