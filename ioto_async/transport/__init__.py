"""One call: the pool, its limits, credentials, attempts, and what a failure means."""
