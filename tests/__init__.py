"""Proof of what the packages promise."""
