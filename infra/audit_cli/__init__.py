"""The audit-log command, the only package that may import all others."""
