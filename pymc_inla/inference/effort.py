"""What the integral over theta may take, by the number of hyperparameters and the size of the model."""

from __future__ import annotations

from dataclasses import dataclass

from pymc_inla.inference.theta_design import WITH_GRADIENTS

LARGE = 300_000
"""Latents and predictors of models in which an evaluation takes a second"""
DEAR = 30_000
"""The same of models in which it takes a tenth of a second or more"""
SIZE_OF_LINES = 5000
"""The same of models in which 2000 values of three hyperparameters are affordable: 4 to 20 s"""
POINTS_OF_THREE = 400
"""A grid over three hyperparameters takes 150 to 300 points, and importance sampling half of that."""
FIRST_LOOK, FIRST_LOOK_DEAR = 3.0, 6.0
TROUGH, TROUGH_LARGE = 70.0, 15.0


@dataclass(frozen=True)
class Effort:
    """Bounds of the search for modes and of the integral around them."""

    max_points: int = 400
    """Design points of a lattice or of importance sampling"""
    lines: bool = True
    """Whether three hyperparameters may be integrated line by line, with about 2000 evaluations"""
    first_look: float = FIRST_LOOK
    """Where the search for other modes begins, in sd; nearer ones are met by the grid or the importance points. This sd
    is of the curvature at the mode: where that falls off on one side only, its mirror image can be 5 of them away. With
    the many observations of models whose evaluations are dear, mirror images are farther apart."""
    trough: float = TROUGH
    """Log units below the mode beyond which no other mode is looked for: 12 sd of a Gaussian, and 5.5 in large
    models"""

    @classmethod
    def for_model(cls, d: int, size: int, *, slow: bool) -> Effort:
        """By the number of hyperparameters and of latents and predictors; `slow` where an evaluation takes longer than
        these say."""
        return cls(
            design_budget(d, size),
            size <= SIZE_OF_LINES and not slow,
            FIRST_LOOK_DEAR if size > DEAR else FIRST_LOOK,
            TROUGH_LARGE if size > LARGE else TROUGH,
        )


def design_budget(d: int, size: int) -> int:
    """Largest number of design points of theta."""
    if d == 3 and 500 < size <= 30_000:
        return POINTS_OF_THREE - 1
    # three rounds of importance points: a second one alone tells how bad the first emulator was
    for limit, *budgets in ((30_000, 400, 768, 1536), (300_000, 150, 256, 256)):
        if size <= limit:
            return budgets[0 if d <= 5 else 1 if d <= WITH_GRADIENTS else 2]
    return 80 if d <= 2 else 128
