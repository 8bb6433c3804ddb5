"""The demo: plausible history and live traffic for the local stack's workspaces, sent as any product service would."""
