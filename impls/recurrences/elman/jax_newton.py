"""The recurrence in JAX, parallel in time: all steps at once, by Newton's method.

    h_t = tanh(a_t),    a_t = x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh

Let g_t be guessed states. With J_t = diag(1 - tanh^2) W_hh for the derivative of a step, one
iteration of Newton's method adds to every state a correction d_t, a linear recurrence:

    d_t = d_{t-1} J_t^T + (tanh(a_t(g_{t-1})) - g_t),    g_t <- g_t + d_t

The guesses are made so that they leave the recurrence at few steps only: the sequence is cut into
blocks, which all go step by step at once, each from a guessed start s_k to its end e_k. Then what
is unknown is the starts' corrections, with P_k for the product of a block's derivatives

    d_{k+1} = d_k P_k + (e_k - s_{k+1})

and an associative scan solves that in log2 of the number of blocks. Beyond `DENSE_UP_TO` hidden
units only the diagonal of each J_t is kept there (quasi-Newton). Backward the recurrence is linear:
the same iteration solves it at once, but for rounding.

Sources: Lim et al., "Parallelizing non-linear sequential models over the sequence length" (DEER,
2024); Gonzalez et al., "Towards scalable and stable parallelization of nonlinear RNNs" (quasi-DEER
and ELK, 2024). That blocks go by themselves is the multiple shooting of boundary value problems.

The result is the recurrence's own: it counts as converged when every state follows from the one
before it to within one step's rounding (`TOLERANCE`, `MARGIN`), which is verified. An expansive
recurrence magnifies what the guesses are off by, and may gain no more than a block per iteration:
what has not converged within `ITERATIONS` is done step by step, from there on. `solve` says how
many iterations were made and how many steps they settled; `layer` does the same and does not say.

It can be differentiated once, in reverse (`jax.grad`, `jax.vjp`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array
Cell = tuple[Array, Array, Array, Array]  # weight_ih [H, I], weight_hh [H, H], bias_ih, bias_hh [H]

# from_x = weight_ih^T [I, H], from_h = weight_hh^T [H, H], bias_ih + bias_hh [H]
Prepared = tuple[Array, Array, Array]

framework = "jax"
# In coarser dtypes corrections are hardly finer than the states' own rounding.
dtypes = ("float64", "float32")

# Steps per block, and the least number of blocks where there are as many steps.
STEPS, BLOCKS = 16, 4

# Hidden units up to which derivatives are whole matrices. They cost H times the recurrence's work,
# which a device has to spare only while products are small, and save iterations only near chaos.
DENSE_UP_TO = 32

# How far a state may be from what follows from the one before it, in standard deviations of one
# step's rounding, before the nonlinearity and after it, as docs/verdict.md has them. Both sides are
# rounded, and real rounding is about half the model's: among millions the largest is near 4.
TOLERANCE = 4.0

# Where a device rounds one kind of product more coarsely than another, or than the model says (a
# tensor core may), steps that were really made do not follow by another kernel's product, either.
# So it is seen how far they do not, and this times that is allowed, if it is more.
MARGIN = 1.5

# Iterations after which the rest is done step by step. Contractive recurrences take 2 to 5 of them,
# however long they are, those at the edge of chaos 5 to 11.
ITERATIONS = 16


class Solution(NamedTuple):
    """What came of one layer in one direction.

    Attributes:
        output: h_1 to h_T, `[T, B, H]`.
        h_n: h_T, `[B, H]`.
        iterations: of Newton's method, an integer.
        settled: for how many steps it converged, an integer; the others, from there to T, were done
            step by step.
    """

    output: Array
    h_n: Array
    iterations: Array
    settled: Array


@partial(jax.jit, static_argnames="nonlinearity")
def prepare(cell: Cell, nonlinearity: str) -> Prepared:
    """Do what is done once per set of weights.

    Args:
        cell: `(weight_ih [H, I], weight_hh [H, H], bias_ih [H], bias_hh [H])`.
        nonlinearity: not needed.
    """
    weight_ih, weight_hh, bias_ih, bias_hh = cell
    return weight_ih.T, weight_hh.T, bias_ih + bias_hh


@partial(jax.jit, static_argnames="nonlinearity")
def layer(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> tuple[Array, Array]:
    """Run one layer in one direction over a whole sequence.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.
        nonlinearity: "tanh" or "relu".

    Returns:
        The output `[T, B, H]`, which is h_1 to h_T, and h_n `[B, H]`, which is h_T.
    """
    if 0 in x.shape[:2]:  # there is nothing to solve
        return jnp.zeros((len(x), *h0.shape), x.dtype), h0
    return _layer(nonlinearity, x, h0, cell)


@partial(jax.jit, static_argnames="nonlinearity")
def solve(x: Array, h0: Array, cell: Prepared, nonlinearity: str) -> Solution:
    """Do what `layer` does, and say how it went; not to be differentiated.

    Args:
        x: input, `[T, B, I]`.
        h0: initial hidden state, `[B, H]`.
        cell: what `prepare` returned.
        nonlinearity: "tanh" or "relu".
    """
    from_x, from_h, bias = cell

    def finish(a: Array, _: None) -> tuple[Array, Array]:
        if nonlinearity == "relu":
            return jax.nn.relu(a), (a > 0).astype(a.dtype)
        h = jnp.tanh(a)
        return h, 1 - h * h

    bounds = {"tanh": (-1.0, 1.0), "relu": (0.0, jnp.inf)}[nonlinearity]
    output, iterations, settled = _recur(finish, x @ from_x + bias, None, h0, from_h, bounds)
    return Solution(output, output[-1], iterations, settled)


# Given a_t [..., B, H] and what else comes in at a step, returns h_t and its derivative by a_t.
Finish = Callable[[Array, Any], tuple[Array, Array]]


def _recur(
    finish: Finish,
    given: Array,
    other: Array | None,
    start: Array,
    matrix: Array,
    bounds: tuple[float, float],
) -> tuple[Array, Array, Array]:
    """Return the states of a recurrence, the iterations made, and how many steps they settled.

    Args:
        finish: makes a state of a_t = given_t + h_{t-1} matrix.
        given: `[T, B, H]`.
        other: what else `finish` is given at each step, `[T, B, H]`.
        start: the state before the first step, `[B, H]`.
        matrix: `[H, H]`.
        bounds: between which all states are.
    """
    T, B, H = given.shape
    length = max(1, min(STEPS, T // BLOCKS))
    K = -(-T // length)
    dense = H <= DENSE_UP_TO

    def cut(a: Array) -> Array:  # [length, K, B, H]; what is after the end reaches nothing
        padded = jnp.concatenate([a, jnp.zeros((K * length - T, B, H), a.dtype)])
        return padded.reshape(K, length, B, H).swapaxes(0, 1)

    blocks = jax.tree.map(cut, (given, other))

    def after(h: Array, now: tuple[Array, Any]) -> tuple[Array, Array]:
        return finish(now[0] + h @ matrix, now[1])

    def forth(carried: tuple[Array, Array], now: Any) -> tuple[Any, tuple[Array, Array]]:
        h, product = carried
        h, slope = after(h, now)
        if dense:
            product = (product @ matrix) * slope[..., None, :]
        else:
            product = product * jnp.diagonal(matrix) * slope
        return (h, product), (h, slope)

    def moved(correction: Array, slope: Array) -> tuple[Array, Array]:
        correction = (correction @ matrix) * slope
        return correction, correction

    def go_on(carried: tuple[Array, Array, Array, Array]) -> Any:
        _, _, iterations, settled = carried
        return (settled < T) & (iterations < ITERATIONS)

    def iterate(carried: Any) -> Any:
        starts, _, iterations, _ = carried
        one = jnp.eye(H, dtype=start.dtype) if dense else jnp.ones(H, start.dtype)
        products = jnp.broadcast_to(one, (K, B, *one.shape))
        (ends, products), (states, slopes) = jax.lax.scan(forth, (starts, products), blocks)
        errors = ends[:-1] - starts[1:]
        corrections = jnp.concatenate([jnp.zeros_like(start)[None], _scan(products[:-1], errors)])
        _, corrections = jax.lax.scan(moved, corrections, slopes)
        better = jnp.clip(states + corrections, *bounds)
        # Products of expansive steps may overflow: then the states themselves are better.
        better = jnp.where(jnp.isfinite(better), better, states)
        before, starts = starts, jnp.concatenate([start[None], better[-1, :-1]])
        missed = off(starts, better)

        def seen() -> Array:
            made = off(before, states)
            return jnp.maximum(1, MARGIN * jnp.where(jnp.isfinite(made), made, 0).max())

        # It costs products of all steps, and the first iteration settles nothing as a rule.
        wanted = (iterations > 0) & ~(missed <= 1).all()
        right = missed <= jax.lax.cond(wanted, seen, lambda: jnp.ones((), start.dtype))
        right = right.all(axis=(2, 3)).T.ravel()[:T]
        first_wrong = jnp.where(right.all(), T, jnp.argmin(right)).astype(jnp.int32)
        return starts, better, iterations + 1, first_wrong

    def off(starts: Array, states: Array) -> Array:
        """Return how far states are from what follows from those before them, by `TOLERANCE`."""
        before = jnp.concatenate([starts[None], states[:-1]])
        sums = (2 + H) / 6 * (before**2 @ matrix**2) + blocks[0] ** 2 / 3
        limits = jnp.finfo(start.dtype)
        unit = TOLERANCE * limits.eps / 2
        a, spread = blocks[0] + before @ matrix, unit * jnp.sqrt(sums)
        least, follows, most = (finish(each, blocks[1])[0] for each in (a - spread, a, a + spread))
        own = 2 * unit * jnp.abs(states) + limits.tiny
        room = jnp.where(states > follows, most - follows, follows - least) + own
        # Where its squares overflow, rounding is not known.
        return jnp.where(jnp.isfinite(spread), jnp.abs(states - follows) / room, jnp.inf)

    def finished(k: Array, states: Array) -> Array:
        before = jnp.where(k == 0, start, states[-1, k - 1])
        now = jax.tree.map(lambda a: a[:, k], blocks)
        _, found = jax.lax.scan(lambda h, now: (after(h, now)[0],) * 2, before, now)
        return states.at[:, k].set(found)

    guess = jnp.concatenate([start[None], jnp.zeros((K - 1, B, H), start.dtype)])
    nothing = (guess, jnp.zeros_like(blocks[0]), jnp.int32(0), jnp.int32(0))
    _, states, iterations, final = jax.lax.while_loop(go_on, iterate, nothing)
    first = jnp.where(final < T, final // length, K)
    states = jax.lax.fori_loop(first, K, finished, states)
    return states.swapaxes(0, 1).reshape(K * length, B, H)[:T], iterations, final


def _scan(products: Array, errors: Array) -> Array:
    """Return d_1, d_2, ... of d_{k+1} = d_k P_k + errors_k, with d_0 = 0.

    Args:
        products: `[K, B, H, H]`, or their diagonals `[K, B, H]`.
        errors: `[K, B, H]`.
    """

    def join(one: tuple[Array, Array], two: tuple[Array, Array]) -> tuple[Array, Array]:
        (product, error), (by, more) = one, two
        if products.ndim == errors.ndim:
            return product * by, error * by + more
        return product @ by, (error[..., None, :] @ by)[..., 0, :] + more

    corrections: Array = jax.lax.associative_scan(join, (products, errors))[1]
    return corrections


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer(nonlinearity: str, x: Array, h0: Array, cell: Prepared) -> tuple[Array, Array]:
    found = solve(x, h0, cell, nonlinearity)
    return found.output, found.h_n


def _forward(
    nonlinearity: str, x: Array, h0: Array, cell: Prepared
) -> tuple[tuple[Array, Array], tuple[Any, ...]]:
    output, h_n = _layer(nonlinearity, x, h0, cell)
    return (output, h_n), (x, h0, cell, output)


def _backward(
    nonlinearity: str, saved: tuple[Any, ...], gradients: tuple[Array, Array]
) -> tuple[Array, Array, Prepared]:
    (x, h0, (from_x, from_h, _), output), (grad_output, grad_h_n) = saved, gradients
    (T, B, I), H = x.shape, h0.shape[1]
    slopes = {"tanh": 1 - output * output, "relu": (output > 0).astype(x.dtype)}[nonlinearity]

    def finish(grad_h: Array, slope: Array) -> tuple[Array, Array]:
        return grad_h * slope, slope

    given, other = jnp.flip(grad_output.at[-1].add(grad_h_n), 0), jnp.flip(slopes, 0)
    bounds = (-jnp.inf, jnp.inf)
    sums, _, _ = _recur(finish, given, other, jnp.zeros_like(h0), from_h.T, bounds)
    sums = jnp.flip(sums, 0)
    rows, previous = sums.reshape(T * B, H), jnp.concatenate([h0[None], output[:-1]])
    grad_from_x, grad_from_h = x.reshape(T * B, I).T @ rows, previous.reshape(T * B, H).T @ rows
    return sums @ from_x.T, sums[0] @ from_h.T, (grad_from_x, grad_from_h, rows.sum(0))


_layer.defvjp(_forward, _backward)
