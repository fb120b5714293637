"""Handing results over: who is told next, over which wire, and what the answer means."""
