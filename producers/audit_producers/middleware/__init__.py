"""Ready middlewares that open an `audit_context` per request: `asgi` and `wsgi`, without any framework."""
