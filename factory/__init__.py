"""A factory of labelled images: a DDPM draws them, its own features label every pixel."""
