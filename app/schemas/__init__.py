"""The wire: pydantic models that come in and go out."""
