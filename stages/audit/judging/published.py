"""What the published study says: its notebook's last epoch, and its README's example numbers."""

NOTEBOOK_ACCURACY = {
    "mnist": {0.1: 0.9816, 0.2: 0.9820, 0.384: 0.9633, 0.48: None, 0.6: None},
    "fashion_mnist": {0.1: 0.8841, 0.2: 0.8802, 0.384: None, 0.48: None, 0.6: None},
}
"""Dataset → learning rate → test accuracy after ten epochs. None: the loss was nan, and the
accuracy was that of always predicting one class."""

README_ACCURACY = {0.1: 0.9763, 0.2: 0.9749, 0.384: 0.9692}
"""Learning rate → test accuracy on MNIST that its README shows."""

ROUNDING = 0.00005
"""Half of the last digit of a printed accuracy."""
