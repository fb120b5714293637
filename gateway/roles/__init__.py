"""Composition roots: each role of the gateway is wired once, here, from settings and site."""
