"""How people read the log."""
