"""Pictures as PNG, read back by another library."""

import io

import numpy as np
import pytest
from PIL import Image

from inference.render import grey_of, png


def test_colours_come_back_in_their_order():
    """Red, green and blue as they went in; grey stays grey."""
    colours = np.dstack([np.full((4, 5), value, np.uint8) for value in (255, 128, 0)])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(colours)))), colours)
    grey = np.arange(20, dtype=np.uint8).reshape(4, 5)
    image = Image.open(io.BytesIO(png(grey)))
    assert (image.mode, image.info) == ("L", {})
    assert np.array_equal(np.asarray(image), grey)
    assert np.array_equal(grey_of(png(grey)), grey)


def test_the_same_pixels_give_the_same_bytes():
    """So a picture that is drawn again has the same name."""
    grey = np.random.default_rng(1).integers(0, 256, (50, 60), np.uint8)
    assert png(grey) == png(grey.copy())


@pytest.mark.parametrize("shape", [(0, 0), (5,), (4, 5, 2), (1, 4, 5, 3)])
def test_what_is_no_image_is_refused(shape):
    """An array without pixels is an error, not an empty file."""
    with pytest.raises(ValueError, match="no image"):
        png(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="no image"):
        png(np.zeros((4, 5), np.float32))
    with pytest.raises(ValueError, match="not an image"):
        grey_of(b"garbage")
