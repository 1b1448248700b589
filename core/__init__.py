"""What both doors stand on: what a task is, where it is stored, how it is queued."""

__version__ = "0.1.0"
