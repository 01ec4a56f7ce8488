"""Which linear predictors share an observation, read off the pattern of W."""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components


def observation_of_predictor(n_eta: int, W_rows: np.ndarray, W_cols: np.ndarray) -> np.ndarray:
    """Label of the observation of each linear predictor: predictors coupled by an entry of W share one.

    Returns
    -------
    (n_eta,) int64, labels 0..n_obs-1 in order of first appearance
    """
    if len(W_rows) == n_eta:
        return np.arange(n_eta)
    graph = sparse.coo_array((np.ones(len(W_rows), dtype=bool), (W_rows, W_cols)), shape=(n_eta, n_eta))
    return connected_components(graph, directed=False)[1].astype(np.int64)
