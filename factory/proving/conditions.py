"""The kinds of training that are compared."""

from typing import Final

REAL: Final = "real"
SYNTHETIC: Final = "synthetic"
BOTH: Final = "synthetic_and_real"
PSEUDO: Final = "pseudo"
PSEUDO_BOTH: Final = "pseudo_and_real"
ENSEMBLE: Final = "ensemble"
TRAINED = (REAL, SYNTHETIC, BOTH, PSEUDO, PSEUDO_BOTH)
"""The kinds that are trained; the ensemble is only measured."""
