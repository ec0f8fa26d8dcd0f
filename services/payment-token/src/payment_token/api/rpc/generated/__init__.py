"""Made from ``proto/`` by ``python -m payment_token.api.rpc.generate``; a test compares."""
