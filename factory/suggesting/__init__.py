"""Which images to label next, and the masks that come back."""
