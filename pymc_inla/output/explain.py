"""`pymc_inla.explain`: what was recognized in a model, or why it is refused."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from html import escape

import pandas as pd

from pymc_inla.analysis import analyze_model
from pymc_inla.analysis.context import model_meant
from pymc_inla.compile import compile_model
from pymc_inla.errors import InvalidOptionError, UnsupportedModelError
from pymc_inla.lgm import Explanation, LatentGaussianModel

COLUMNS = tuple(field.name for field in fields(Explanation))


@dataclass(frozen=True)
class Explained:
    """What was recognized.

    Parameters
    ----------
    rows : tuple of Explanation
        One per variable: role, the rule that recognized it, size, prior in INLA's words.
    notes : tuple of str
        What the analysis did that a reader should know.
    refusal : UnsupportedModelError or None
        Why the model cannot be fitted, with the variable, the reason and what to do.
    lgm : LatentGaussianModel or None
        The model taken apart; None when it is refused.
    """

    rows: tuple[Explanation, ...]
    notes: tuple[str, ...] = ()
    refusal: UnsupportedModelError | None = None
    lgm: LatentGaussianModel | None = None

    def to_frame(self) -> pd.DataFrame:
        """One row per variable."""
        return pd.DataFrame([asdict(row) for row in self.rows], columns=list(COLUMNS)).set_index("variable")

    def __rich__(self):
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        if self.refusal is not None:
            return Text(refusal_text(self.refusal))
        table = Table()
        for column in COLUMNS:
            table.add_column(column, justify="right" if column == "size" else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(str(value)) for value in asdict(row).values()))
        return Group(table, *(Text(f"Note: {note}") for note in self.notes))

    def __repr__(self):
        if self.refusal is not None:
            return f"<Explained: refused because of {self.refusal.variable}>"
        latent = sum(row.size for row in self.rows if row.role == "latent")
        theta = sum(row.size for row in self.rows if row.role == "hyperparameter")
        return f"<Explained: {latent} latent values, {theta} hyperparameters>"

    def _repr_html_(self):
        if self.refusal is not None:
            return f"<p>{escape(refusal_text(self.refusal))}</p>"
        notes = "".join(f"<p>Note: {escape(note)}</p>" for note in self.notes)
        return self.to_frame().to_html() + notes

    def plot(self, ax=None):
        """Sparsity of H = Q + A'WA, the matrix that is factorized, in the order of the latent variables.

        Raises
        ------
        InvalidOptionError
            The model was refused.
        """
        if self.lgm is None:
            raise InvalidOptionError("There is no matrix to draw: the model was refused.")
        from matplotlib import pyplot

        functions = compile_model(self.lgm)
        ones = [pattern.to_matrix([1.0] * pattern.nnz) for pattern in (functions.Q_pattern, functions.A_pattern)]
        ax = pyplot.subplots()[1] if ax is None else ax
        ax.spy(ones[0] + ones[1].T @ ones[1], markersize=max(0.5, min(4.0, 300 / functions.n_x)))
        middles = [(latent.start + latent.stop - 1) / 2 for latent in self.lgm.latents]
        ax.set_yticks(middles, [latent.name for latent in self.lgm.latents])
        ax.set_xticks([])
        ax.set_title("H = Q + A'WA")
        return ax


def refusal_text(refusal: UnsupportedModelError) -> str:
    """Reason and advice on three lines."""
    return f"Not a latent Gaussian model that can be fitted.\n{refusal.variable}: {refusal.found}.\n{refusal.advice}"


def explain(model=None, *, display: bool = True) -> Explained:
    """Show what was recognized in a model: roles, rules, sizes, priors in INLA's words; or why it is refused.

    Parameters
    ----------
    model : pymc.Model, optional
        The model; the one of the surrounding `with` block when left out.
    display : bool
        Whether to print the table (a notebook shows the returned object instead).
    """
    model = model_meant(model)
    try:
        lgm = analyze_model(model)
        explained = Explained(tuple(lgm.explanations), tuple(lgm.warnings), None, lgm)
    except UnsupportedModelError as refusal:
        explained = Explained((), (), refusal)
    if display:
        from rich import get_console

        console = get_console()
        if not console.is_jupyter:
            console.print(explained)
    return explained
