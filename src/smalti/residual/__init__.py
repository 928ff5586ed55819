"""What makes every image of an archive as good as was promised: corrections of what the decoder gives.

All of it is integers; which corrections to choose may be decided by floats, since that is the writer's affair alone.
Layer: below `archive`, above `entropy`.
"""

from smalti.residual.choosing import choose_corrections
from smalti.residual.corrections import (
    CorrectionCounts,
    Corrections,
    apply_corrections,
    max_squared_error,
    squared_errors,
)
from smalti.residual.estimating import CorrectionEstimator
from smalti.residual.prior import BaseOf, CorrectionPrior

__all__ = [
    "BaseOf",
    "CorrectionCounts",
    "CorrectionEstimator",
    "CorrectionPrior",
    "Corrections",
    "apply_corrections",
    "choose_corrections",
    "max_squared_error",
    "squared_errors",
]
