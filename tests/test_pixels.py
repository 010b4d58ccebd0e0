"""Images read from bytes, against scaling them by hand."""

import numpy as np
import torch

from stages.training.pixels import Pixels

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)


def test_images_stay_bytes_and_are_read_normalized() -> None:
    pixels = Pixels.normalized(IMAGES, mean=0.2860, deviation=0.3530, device=CPU)
    expected = (IMAGES.reshape(20, 784) / 255 - 0.2860) / 0.3530
    assert pixels.bytes.dtype == torch.uint8
    assert pixels[:].dtype == torch.float32
    np.testing.assert_allclose(pixels[:].numpy(), expected, rtol=1e-6, atol=1e-6)


def test_fetched_images_are_those_read_to_the_bit() -> None:
    pixels = Pixels.normalized(IMAGES, mean=0.1307, deviation=0.3081, device=CPU)
    chosen = torch.tensor([7, 0, 19, 7])
    fetched = torch.empty(4, 784)
    pixels.fetch(chosen, torch.empty(4, 784, dtype=torch.uint8), out=fetched)
    assert torch.equal(fetched, pixels[:][chosen])
