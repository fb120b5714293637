"""Drawing: the one look that the network knows, and the page that a clinician reads."""

from inference.render.layout import Style
from inference.render.look import panel
from inference.render.paper import page
from inference.render.pdf import page_pdf
from inference.render.png import grey_of, png

__all__ = ["Style", "grey_of", "page", "page_pdf", "panel", "png"]
