"""A factory of labelled images: a DDPM draws them, its own features label every pixel."""

__version__ = "0.2.0"
