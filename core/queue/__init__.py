"""The plan: every Redis key and command lives in this room."""
