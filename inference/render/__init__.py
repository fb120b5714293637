"""Drawing: the one look that the network knows, and the page that a clinician reads."""

from inference.render.layout import Style
from inference.render.look import panel
from inference.render.paper import page, page_pdf

__all__ = ["Style", "page", "page_pdf", "panel"]
