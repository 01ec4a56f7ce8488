"""Derivatives of the quadrature approximation that need the likelihood at the nodes once more.

With S = H_S^-1 held fixed, -1/2 log det H_S = sum_g E[F_g] + const for

    F_g(u) = -1/2 <A_S S A_S', W(u)>_g + 1/2 (d - E d)'S (d - E d),

and d/dphi E[F] = E[dF/dphi] + Cov(F, d log joint/dphi) in any parameter phi (x_S or theta): one vector-Jacobian product
of the likelihood per node. In x_S it is q = d(-1/2 log det H_S)/dx_S, and v = S q is both the weight of the implicit
change of x_S* in the gradient in theta, and the first-order difference between mean and mode of x_S.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pymc_inla.inference.local_posterior import LocalIntegral, PartIntegral, joined, portions
from pymc_inla.inference.parallel import map_in_order
from pymc_inla.lgm import Likelihood
from pymc_inla.linalg.forms import bilinear_forms, product_entries
from pymc_inla.linalg.matvec import multiply, multiply_transposed


@dataclass
class _Pulled:
    """Cotangents summed over the nodes."""

    eta: np.ndarray
    """(n_eta,)"""
    eta_u: np.ndarray | float
    """(n_eta, b), cotangent of eta times the node; 0 where the design does not depend on theta"""
    theta: np.ndarray


class PartAdjoint:
    """Reverse derivatives of what one part adds.

    Parameters
    ----------
    integral : PartIntegral
    x_S : (n_S,) array
    S : (n_S, n_S) array
        Covariance of x_S.
    design_moves : bool
        Whether A_S depends on theta.
    """

    def __init__(self, integral: PartIntegral, x_S: np.ndarray, S: np.ndarray, design_moves: bool):
        self.integral, self.conditional, self.design_moves = integral, integral.conditional, design_moves
        c = self.conditional
        self.part, self.functions = c.part, c.functions
        self._portions = [slice(0, 1), *portions(1, len(integral.u), self.functions.n_eta)]
        self.z = c.of_shared(x_S)
        doubled = bilinear_forms(c.A_S, self.functions.W_rows, S, c.A_S, self.functions.W_cols)
        doubled[self.functions.n_eta :] *= 2.0
        self.W_bar = -0.5 * doubled
        self.deviation = integral.d - integral.d_mean
        self.y = self.part.multiply(S, self.deviation)
        self._evaluate_F()
        self.first = self._pull(self.rho_F, self.y, curvature=True)
        self.q = multiply_transposed(c.A_S, self.first.eta)

    def _evaluate_F(self):
        """F at the nodes (K, G), rho_F = p (F - E F), and the part of the cotangent of A_S that comes with d."""
        c, part, p = self.conditional, self.part, self.integral.p
        F = np.empty((len(p), part.G))
        self.A_S_bar = np.zeros(c.A_pairs.nnz if self.design_moves else 0)
        rows = np.repeat(np.arange(self.functions.n_eta), np.diff(c.A_pairs.indptr)) if self.design_moves else None

        def evaluate(at: slice):
            likelihood = self._likelihood(at)
            F[at] = 0.0
            c.sums.add_rows(part.W_block, self.W_bar * likelihood.W, F[at])
            c.sums.add_rows(part.m_block, 0.5 * self.deviation[at] * self.y[at], F[at])
            if not self.design_moves:
                return 0.0
            weighted = (p[at][:, part.row_block] * likelihood.gradient)[:, rows]
            return np.einsum("ke,ke->e", weighted, self.y[at][:, c.A_pairs.indices])

        for of_nodes in map_in_order(evaluate, self._portions):
            self.A_S_bar += of_nodes
        mean = np.einsum("kg,kg->g", p[:, :-1], F)
        self.rho_F = p[:, :-1] * (F - mean)

    def likelihoods(self):
        """Portions of the nodes with the likelihood there."""
        for at in self._portions:
            yield at, self._likelihood(at)

    def _likelihood(self, at: slice) -> Likelihood:
        if at.start == 0:
            at_mode = self.integral.mode.likelihood
            return Likelihood(at_mode.value[None], at_mode.gradient[None], at_mode.W[None])
        return self.conditional.likelihoods(self.conditional.predictors(self.z, self.integral.u[at]))

    def _pull(self, rho, y, *, curvature: bool, outside: float = 0.0, v=None) -> _Pulled:
        """sum_k of vjps with value_bar = rho_k, gradient_bar = p_k A_S y_k, W_bar = p_k W_bar.

        Parameters
        ----------
        rho : (K, G)
        y : (K, n_m), or None with `v` (n_S,) when it is the same for all nodes and blocks
        outside : float
            value_bar of observations without local latents.
        """
        c, part, p, f = self.conditional, self.part, self.integral.p, self.functions
        Av = None if v is None else multiply(c.A_S, v)
        value_bars = np.column_stack([rho, outside * (np.arange(len(p)) == 0)])

        def evaluate(at: slice) -> _Pulled:
            u = self.integral.u[at]
            of_row = np.take(p[at], part.row_block, axis=1, mode="clip")
            gradient_bar = np.ascontiguousarray(multiply(c.A_pairs, y[at])) if v is None else Av[None]
            gradient_bar = of_row * gradient_bar
            W_bar = part.to_W(of_row) * self.W_bar if curvature else np.zeros((len(u), len(f.W_rows)))
            bars = np.take(value_bars[at], part.obs_block, axis=1, mode="clip"), gradient_bar, W_bar
            eta_bar, theta_bar = f.log_likelihood_vjp_many(c.predictors(self.z, u), c.theta, *bars)
            if f.design_vjp is None:
                return _Pulled(eta_bar.sum(axis=0), 0.0, theta_bar)
            of_row = np.concatenate([u, np.zeros((len(u), 1, part.b))], axis=1)[:, part.row_block]
            return _Pulled(eta_bar.sum(axis=0), np.einsum("kr,krc->rc", eta_bar, of_row), theta_bar)

        evaluated = map_in_order(evaluate, portions(0, len(p), f.n_eta))
        pulled = next(evaluated)
        for more in evaluated:
            pulled.eta += more.eta
            pulled.eta_u += more.eta_u
            pulled.theta += more.theta
        return pulled

    def follow(self, v) -> None:
        """Add to the cotangents those of log p(y, x_S* | theta), whose mode moves with weights v (n_S,): `rho` of the
        log joint at the nodes (K, G), and `total` of eta, eta u and theta."""
        part, p = self.part, self.integral.p[:, :-1]
        v_d = np.zeros(p.shape)
        self.conditional.sums.add_rows(part.m_block, v[part.m_shared] * self.deviation, v_d)
        rho = p * (1.0 + v_d)
        self.rho, self.total = rho + self.rho_F, self.first
        # theta enters by the prior alone where neither the design nor the likelihood depends on it
        if self.design_moves or self.functions.likelihood_varies:
            first, second = self.first, self._pull(rho, None, curvature=False, outside=1.0, v=v)
            self.total = _Pulled(first.eta + second.eta, first.eta_u + second.eta_u, first.theta + second.theta)


class Adjoint:
    """Reverse derivatives at one local integral.

    Parameters
    ----------
    integral : LocalIntegral
    S : (n_S, n_S) array
        Covariance of x_S.
    """

    def __init__(self, integral: LocalIntegral, S: np.ndarray):
        self.integral, self.S = integral, S
        self.conditional = c = integral.conditional
        moves = c.blocks.coupled or c.functions.design_vjp is not None
        self.parts = list(map_in_order(lambda part: PartAdjoint(part, integral.x_S, S, moves), integral.parts))
        self.v = S @ sum(part.q for part in self.parts)

    def theta_gradient(self) -> np.ndarray:
        """d/dtheta of log p(y, x_S* | theta) - 1/2 log det H_S, (n_theta,), with the change of x_S*."""
        c, B, f = self.conditional, self.conditional.blocks, self.conditional.functions
        x_S, v, S = self.integral.x_S, self.v, self.S
        for _ in map_in_order(lambda part: part.follow(v), self.parts):
            pass
        gradient = sum(part.total.theta for part in self.parts)
        b_bar, Q_bar = np.empty(f.n_x), np.zeros(f.Q_pattern.nnz)
        b_bar[B.shared] = x_S + v
        b_bar[B.local] = joined(self.parts, lambda part: np.einsum("kg,kgc->gc", part.rho, part.integral.u))
        i, j = B.Q_SS_index
        Q_bar[B.Q_SS] = -0.5 * x_S[i] * x_S[j] - v[i] * x_S[j] - 0.5 * S[i, j]
        Q_gg_bar = -0.5 * joined(
            self.parts, lambda part: np.einsum("kg,kgr,kgs->grs", part.rho, part.integral.u, part.integral.u)
        )
        if B.design is not None:
            e_bar, eta_bar = self._design_entries()
        if B.coupled:
            self._through_P(e_bar, b_bar, Q_bar, Q_gg_bar)
        Q_bar[B.Q_LL] = Q_gg_bar[B.Q_LL_index]
        gradient = gradient + f.prior_vjp(c.theta, Q_bar, b_bar, 1.0)
        if f.design_vjp is not None:
            D, a_bar = B.design, joined(self.parts, lambda part: part.total.eta_u)
            fill = c.P[D.fill_m] * e_bar[D.fill_e][:, None]
            a_bar += np.column_stack([np.bincount(D.fill_r, fill[:, r], f.n_eta) for r in range(B.b)])
            A_bar = np.empty(f.A_pattern.nnz)
            A_bar[D.A_local], A_bar[D.A_shared] = a_bar[D.A_local_row, D.A_local_component], e_bar[D.A_e]
            gradient = gradient + f.design_vjp(c.theta, A_bar, eta_bar)
        return gradient

    def _design_entries(self) -> tuple[np.ndarray, np.ndarray]:
        """Cotangents of the entries of A_S + a P, (n_e,), and of eta, (n_eta,)."""
        c, D, x_S = self.conditional, self.conditional.blocks.design, self.integral.x_S
        eta_bar = joined(self.parts, lambda part: part.total.eta)
        of_likelihood = joined(self.integral.parts, lambda part: part.likelihood_gradient)
        W = joined(self.integral.parts, lambda part: part.W)
        row, col = D.e_row, D.e_col
        WAS = product_entries(W_matrix(c.functions, W) @ c.whole.A_S, self.S, row, col)
        e_bar = eta_bar[row] * x_S[col] + of_likelihood[row] * self.v[col] - WAS
        e_bar[D.e_blocked] += joined(self.parts, lambda part: part.A_S_bar)
        return e_bar, eta_bar

    def _through_P(self, e_bar, b_bar, Q_bar, Q_gg_bar) -> None:
        """Add what comes through P = -Q_gg^-1 Q_gS: in A_S + a P, b_S + P'b_g and Q_SS + Q_Sg P."""
        c, B = self.conditional, self.conditional.blocks
        P, shared_bar = c.P, b_bar[B.shared][B.whole.m_shared][:, None]
        filled = c.whole.a[B.design.fill_r] * e_bar[B.design.fill_e][:, None]
        P_bar = np.column_stack([np.bincount(B.design.fill_m, filled[:, r], B.whole.n_m) for r in range(B.b)])
        P_bar = P_bar + c.b_L[B.whole.m_block] * shared_bar
        Y = c.solve_Q_gg(P_bar)
        # cotangent of Q_SS, symmetrized
        x_S, v = self.integral.x_S, self.v
        M = -0.5 * (np.outer(x_S + v, x_S) + np.outer(x_S, v) + self.S)
        T = B.whole.multiply(M, P.T).T
        R_bar = 2.0 * T - Y
        Q_bar[B.Q_LS] = R_bar[B.Q_m, B.Q_LS_component]
        outer = P[:, :, None] * T[:, None, :] - Y[:, :, None] * P[:, None, :]
        np.add.at(Q_gg_bar, B.whole.m_block, outer)
        np.add.at(b_bar, B.local[B.whole.m_block], P * shared_bar)


def W_matrix(functions, W) -> sparse.csr_array:
    """W as a symmetric matrix, (n_eta, n_eta)"""
    n, rows, cols = functions.n_eta, functions.W_rows, functions.W_cols
    index = np.concatenate([rows, cols[n:]]), np.concatenate([cols, rows[n:]])
    return sparse.csr_array(sparse.coo_array((np.concatenate([W, W[n:]]), index), shape=(n, n)))
