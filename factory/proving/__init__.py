"""Whether the pairs of a dataset make a better network than real pairs alone."""
