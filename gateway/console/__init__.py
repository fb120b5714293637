"""The web console: what came in, what was made of it, where it went. Loopback only for now."""
