"""Log densities written as R arithmetic: "expression: a = 1; return(-a * theta^2 / 2)".

A recursive-descent parser that builds the PyTensor graph; nothing is evaluated as Python.

    program    = statement {(";" | newline) statement}
    statement  = name ("=" | "<-") sum | "return" "(" sum ")" | sum
    sum        = product {("+" | "-") product}
    product    = sign {("*" | "/") sign}
    sign       = ("-" | "+") sign | power
    power      = atom [("^" | "**") sign]                      -a^b is -(a^b), a^b^c is a^(b^c)
    atom       = number | name | name "(" sum {"," sum} ")" | "(" sum ")"

A new line ends a statement, unless the statement cannot end there or the line goes on with an operator.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np
import pytensor.tensor as pt

from pymc_inla.errors import InvalidOptionError
from pymc_inla.options import did_you_mean

TOKEN = re.compile(
    r"(?P<number>(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)|(?P<name>[A-Za-z_.][A-Za-z0-9_.]*)"
    r"|(?P<operator><-|\*\*|[-+*/^(),;=])|(?P<blank>[ \t\r]+)|(?P<newline>\n)"
)
FUNCTIONS = {
    # name: (fewest arguments, most arguments or None, function)
    "exp": (1, 1, pt.exp),
    "expm1": (1, 1, pt.expm1),
    "log": (1, 2, lambda x, base=None: pt.log(x) if base is None else pt.log(x) / pt.log(base)),
    "log10": (1, 1, lambda x: pt.log(x) / np.log(10.0)),
    "log1p": (1, 1, pt.log1p),
    "sqrt": (1, 1, pt.sqrt),
    "pow": (2, 2, pt.power),
    "abs": (1, 1, pt.abs),
    "sin": (1, 1, pt.sin),
    "cos": (1, 1, pt.cos),
    "tan": (1, 1, pt.tan),
    "tanh": (1, 1, pt.tanh),
    "atan": (1, 1, pt.arctan),
    "gamma": (1, 1, pt.gamma),
    "lgamma": (1, 1, pt.gammaln),
    "min": (1, None, lambda *x: functools.reduce(pt.minimum, x)),
    "max": (1, None, lambda *x: functools.reduce(pt.maximum, x)),
}
CONSTANTS = {"pi": np.pi}
ARGUMENT = "theta"


def parse_expression(text: str, theta):
    """The graph of an R expression.

    Parameters
    ----------
    text : str
        With or without the prefix "expression:".
    theta : TensorVariable
        What the name `theta` stands for.

    Returns
    -------
    TensorVariable
        Shape of theta (or scalar, if theta does not occur).

    Raises
    ------
    InvalidOptionError
        Not R arithmetic; unknown names, with the nearest known one.
    """
    body = re.sub(r"^\s*expression\s*:", "", text)
    return _Parser(body, tokenize(body), theta).program()


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    position: int
    new_line: bool
    """Whether a new line comes before it"""


def tokenize(text: str) -> list[Token]:
    """Tokens without white space, then one of kind "end"."""
    tokens, position, new_line = [], 0, False
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise _error(text, position, f"the character {text[position]!r} is not part of R arithmetic")
        kind = match.lastgroup
        if kind == "newline":
            new_line = True
        elif kind != "blank":
            tokens.append(Token(kind, match.group(), position, new_line))
            new_line = False
        position = match.end()
    return [*tokens, Token("end", "", len(text), new_line)]


def _error(text, position, problem, near="") -> InvalidOptionError:
    line = text[:position].count("\n") + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    where = f"column {column}" if line == 1 else f"line {line}, column {column}"
    return InvalidOptionError(
        f"Prior 'expression: {text.strip()}': {problem}, at {where}.{near} It is R arithmetic in `{ARGUMENT}`: "
        f"numbers, + - * / ^, parentheses, assignments, return(...), {', '.join([*FUNCTIONS, *CONSTANTS])}."
    )


class _Parser:
    def __init__(self, text, tokens, theta):
        self.text, self.tokens, self.at = text, tokens, 0
        self.names = {ARGUMENT: theta} | {name: pt.constant(np.float64(v)) for name, v in CONSTANTS.items()}

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def error(self, problem, token=None, near=""):
        return _error(self.text, (token or self.token).position, problem, near)

    def accept(self, *texts) -> str | None:
        if self.token.kind == "operator" and self.token.text in texts:
            self.at += 1
            return self.tokens[self.at - 1].text
        return None

    def expect(self, text):
        if not self.accept(text):
            found = f"found {self.token.text!r}" if self.token.text else "the expression ends"
            raise self.error(f"{text!r} is missing, {found}")

    def program(self):
        while self.accept(";"):
            pass
        if self.token.kind == "end":
            raise self.error("the expression is empty")
        while True:
            start = self.token
            value, discards, returned = self.statement()
            if self.token.kind != "end" and not self.token.new_line and self.token.text != ";":
                raise self.error(f"{self.token.text!r} is not expected")
            while self.accept(";"):
                pass
            if self.token.kind == "end":
                return value
            if returned:
                raise self.error("nothing may follow return(...)")
            if discards:
                raise self.error("this statement has no effect: give its value a name, or return it", start)

    def statement(self):
        """(value, whether it is lost when another statement follows, whether it returns)"""
        token, following = self.token, self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        if token.kind == "name" and following.kind == "operator" and following.text in ("=", "<-"):
            if token.text in (ARGUMENT, "return", *CONSTANTS, *FUNCTIONS):
                raise self.error(f"{token.text!r} cannot be assigned to")
            self.at += 2
            self.names[token.text] = self.sum()
            return self.names[token.text], False, False
        if token.kind == "name" and token.text == "return":
            self.at += 1
            self.expect("(")
            value = self.sum()
            self.expect(")")
            return value, False, True
        return self.sum(), True, False

    def sum(self):
        value = self.product()
        while operator := self.accept("+", "-"):
            right = self.product()
            value = value + right if operator == "+" else value - right
        return value

    def product(self):
        value = self.sign()
        while operator := self.accept("*", "/"):
            right = self.sign()
            value = value * right if operator == "*" else value / right
        return value

    def sign(self):
        operator = self.accept("-", "+")
        if operator:
            value = self.sign()
            return -value if operator == "-" else value
        return self.power()

    def power(self):
        base = self.atom()
        return pt.power(base, self.sign()) if self.accept("^", "**") else base

    def atom(self):
        token = self.token
        if self.accept("("):
            value = self.sum()
            self.expect(")")
            return value
        if token.kind == "number":
            self.at += 1
            return pt.constant(np.float64(token.text))
        if token.kind == "name":
            self.at += 1
            return self.call(token) if self.accept("(") else self.value_of(token)
        raise self.error(f"{token.text!r} is not expected" if token.text else "the expression ends too early")

    def value_of(self, token):
        if token.text not in self.names:
            if token.text in FUNCTIONS:
                raise self.error(f"the function {token.text!r} needs arguments in parentheses", token)
            near = did_you_mean(token.text, (*self.names, *FUNCTIONS))
            raise self.error(f"the name {token.text!r} is unknown", token, near)
        return self.names[token.text]

    def call(self, token):
        if token.text not in FUNCTIONS:
            near = did_you_mean(token.text, FUNCTIONS)
            raise self.error(f"the function {token.text!r} is unknown", token, near)
        arguments = [self.sum()]
        while self.accept(","):
            arguments.append(self.sum())
        self.expect(")")
        fewest, most, function = FUNCTIONS[token.text]
        if not fewest <= len(arguments) <= (most or len(arguments)):
            allowed = str(fewest) if fewest == most else f"{fewest} or more" if most is None else f"{fewest} or {most}"
            raise self.error(f"{token.text!r} takes {allowed} argument(s), found {len(arguments)}", token)
        return function(*arguments)
