"""Find the ECG in a foreign page: `find_panel` puts it upright, measures it and finds its rows."""

from inference.paper.panel import Panel, find_panel, turned

__all__ = ["Panel", "find_panel", "turned"]
