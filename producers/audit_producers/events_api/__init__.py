"""The Events API: how custom apps record events of their own, over HTTP."""
