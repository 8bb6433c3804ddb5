"""What the HTTP services share: problems, request ids and metrics, and how errors become answers."""
