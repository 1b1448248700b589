"""Duties that run again and again, one a file."""
