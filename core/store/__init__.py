"""The truth: every line of SQLAlchemy lives in this room."""
