"""Routes parse, call one service and serialise."""
