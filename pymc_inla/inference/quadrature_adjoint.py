"""Derivatives of the quadrature approximation that need the likelihood at the nodes once more.

With S = H_S^-1 held fixed, -1/2 log det H_S = sum_g E[F_g] + const for

    F_g(u) = -1/2 <A_S S A_S', W(u)>_g + 1/2 (d - E d)'S (d - E d),

and d/dphi E[F] = E[dF/dphi] + Cov(F, d log joint/dphi) in any parameter phi (x_S or theta): one vector-Jacobian product
of the likelihood per node. In x_S it is q = d(-1/2 log det H_S)/dx_S, and v = S q is both the weight of the implicit
change of x_S* in the gradient in theta, and the first-order difference between mean and mode of x_S.
"""

from dataclasses import dataclass

import numpy as np

from pymc_inla.inference.local_posterior import LocalIntegral, portions
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
        c = integral.conditional
        self.conditional, B = c, c.blocks
        self.design_moves = B.coupled or c.functions.design_vjp is not None
        self._portions = [slice(0, 1), *portions(1, len(integral.u), c.functions.n_eta)]
        self.z = c.design.offset + multiply(c.A_S, integral.x_S)
        f = c.functions
        doubled = bilinear_forms(c.A_S, f.W_rows, S, c.A_S, f.W_cols)
        doubled[f.n_eta :] *= 2.0
        self.W_bar = -0.5 * doubled
        self.deviation = integral.d - integral.d_mean
        self.y = B.multiply(S, self.deviation)
        self._evaluate_F()
        ones = self._pull(self.rho_F, self.y, curvature=True)
        self.first = ones
        q = multiply_transposed(c.A_S, ones.eta)
        self.q = q
        self.v = S @ q

    def _evaluate_F(self):
        """F at the nodes (K, G), rho_F = p (F - E F), and the part of the cotangent of A_S that comes with d."""
        B, integral = self.conditional.blocks, self.integral
        self.F = np.empty((len(integral.u), B.G))
        self.A_S_bar = np.zeros(len(B.design.e_blocked) if self.design_moves else 0)
        p = integral.p

        def evaluate(at: slice):
            likelihood = self._likelihood(at)
            self.F[at] = B.sum_blocks(B.W_block, self.W_bar * likelihood.W)
            self.F[at] += 0.5 * B.sum_blocks(B.m_block, self.deviation[at] * self.y[at])
            if not self.design_moves:
                return 0.0
            weighted = (p[at][:, B.row_block] * likelihood.gradient)[:, B.design.e_blocked_row]
            return np.einsum("ke,ke->e", weighted, self.y[at][:, B.design.e_m])

        for of_nodes in map_in_order(evaluate, self._portions):
            self.A_S_bar += of_nodes
        mean = np.einsum("kg,kg->g", p[:, :-1], self.F)
        self.rho_F = p[:, :-1] * (self.F - mean)

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
        c, B, p = self.conditional, self.conditional.blocks, self.integral.p
        f = c.functions
        Av = None if v is None else multiply(c.A_S, v)
        value_bars = np.column_stack([rho, outside * (np.arange(len(p)) == 0)])

        def evaluate(at: slice) -> _Pulled:
            u = self.integral.u[at]
            of_row = np.take(p[at], B.row_block, axis=1, mode="clip")
            gradient_bar = np.ascontiguousarray(multiply(c.A_pairs, y[at])) if v is None else Av[None]
            gradient_bar = of_row * gradient_bar
            W_bar = B.to_W(of_row) * self.W_bar if curvature else np.zeros((len(u), len(f.W_rows)))
            bars = np.take(value_bars[at], B.obs_block, axis=1, mode="clip"), gradient_bar, W_bar
            eta_bar, theta_bar = f.log_likelihood_vjp_many(c.predictors(self.z, u), c.theta, *bars)
            if f.design_vjp is None:
                return _Pulled(eta_bar.sum(axis=0), 0.0, theta_bar)
            of_row = np.concatenate([u, np.zeros((len(u), 1, B.b))], axis=1)[:, B.row_block]
            return _Pulled(eta_bar.sum(axis=0), np.einsum("kr,krc->rc", eta_bar, of_row), theta_bar)

        evaluated = map_in_order(evaluate, portions(0, len(p), f.n_eta))
        pulled = next(evaluated)
        for more in evaluated:
            pulled.eta += more.eta
            pulled.eta_u += more.eta_u
            pulled.theta += more.theta
        return pulled

    def theta_gradient(self) -> np.ndarray:
        """d/dtheta of log p(y, x_S* | theta) - 1/2 log det H_S, (n_theta,), with the change of x_S*."""
        c, B, f = self.conditional, self.conditional.blocks, self.conditional.functions
        integral, x_S, v, S = self.integral, self.integral.x_S, self.v, self.S
        p, u = integral.p[:, :-1], integral.u
        v_d = np.array([np.bincount(B.m_block, v[B.m_shared] * d, B.G) for d in self.deviation])
        rho = p * (1.0 + v_d)
        second = self._pull(rho, None, curvature=False, outside=1.0, v=v)
        gradient = self.first.theta + second.theta
        rho = rho + self.rho_F
        b_bar, Q_bar = np.empty(f.n_x), np.zeros(f.Q_pattern.nnz)
        b_bar[B.shared], b_bar[B.local] = x_S + v, np.einsum("kg,kgc->gc", rho, u)
        i, j = B.Q_SS_index
        Q_bar[B.Q_SS] = -0.5 * x_S[i] * x_S[j] - v[i] * x_S[j] - 0.5 * S[i, j]
        Q_gg_bar = -0.5 * np.einsum("kg,kgr,kgs->grs", rho, u, u)
        if self.design_moves:
            D = B.design
            row, col = D.e_row, D.e_col
            eta_bar = self.first.eta + second.eta
            WAS = product_entries(c.W_matrix(integral.W) @ c.A_S, S, row, col)
            e_bar = eta_bar[row] * x_S[col] + integral.likelihood_gradient[row] * v[col] - WAS
            e_bar[D.e_blocked] += self.A_S_bar
        if B.coupled:
            self._through_P(e_bar, b_bar, Q_bar, Q_gg_bar)
        Q_bar[B.Q_LL] = Q_gg_bar[B.Q_LL_index]
        gradient = gradient + f.prior_vjp(c.theta, Q_bar, b_bar, 1.0)
        if f.design_vjp is not None:
            a_bar = self.first.eta_u + second.eta_u
            fill = c.P[D.fill_m] * e_bar[D.fill_e][:, None]
            a_bar += np.column_stack([np.bincount(D.fill_r, fill[:, r], f.n_eta) for r in range(B.b)])
            A_bar = np.empty(f.A_pattern.nnz)
            A_bar[D.A_local], A_bar[D.A_shared] = a_bar[D.A_local_row, D.A_local_component], e_bar[D.A_e]
            gradient = gradient + f.design_vjp(c.theta, A_bar, eta_bar)
        return gradient

    def _through_P(self, e_bar, b_bar, Q_bar, Q_gg_bar) -> None:
        """Add what comes through P = -Q_gg^-1 Q_gS: in A_S + a P, b_S + P'b_g and Q_SS + Q_Sg P."""
        c, B = self.conditional, self.conditional.blocks
        P, shared_bar = c.P, b_bar[B.shared][B.m_shared][:, None]
        filled = c.a[B.design.fill_r] * e_bar[B.design.fill_e][:, None]
        P_bar = np.column_stack([np.bincount(B.design.fill_m, filled[:, r], B.n_m) for r in range(B.b)])
        P_bar = P_bar + c.b_L[B.m_block] * shared_bar
        Y = c.solve_Q_gg(P_bar)
        # cotangent of Q_SS, symmetrized
        x_S, v = self.integral.x_S, self.v
        M = -0.5 * (np.outer(x_S + v, x_S) + np.outer(x_S, v) + self.S)
        T = B.multiply(M, P.T).T
        R_bar = 2.0 * T - Y
        Q_bar[B.Q_LS] = R_bar[B.Q_m, B.Q_LS_component]
        outer = P[:, :, None] * T[:, None, :] - Y[:, :, None] * P[:, None, :]
        np.add.at(Q_gg_bar, B.m_block, outer)
        np.add.at(b_bar, B.local[B.m_block], P * shared_bar)
