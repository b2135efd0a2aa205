"""Small networks that learn masks from pairs: synthetic ones, real ones, or both."""
