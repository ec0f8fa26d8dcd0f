"""What the same machine does without us: PostgreSQL's own benchmark, and an HTTP server that does nothing."""
