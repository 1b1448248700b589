"""Use cases: store, queue and plan for one caller."""
