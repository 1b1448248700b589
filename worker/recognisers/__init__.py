"""Plug-ins: pixels in, objects out."""
