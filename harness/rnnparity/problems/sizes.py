"""What is timed under a preset's name: sizes that others published, as cases."""

from collections.abc import Sequence
from typing import NamedTuple

from rnnparity.cells.config import RNNConfig
from rnnparity.errors import UsageError, no_such, one_line
from rnnparity.problems.cases import Case

# A size has fewer digits than this.
DIGITS = 10

FORWARD, GRADIENTS = "forward", "gradients"


class Size(NamedTuple):
    """T time steps, B sequences, I inputs, H hidden units."""

    T: int
    B: int
    I: int
    H: int

    @classmethod
    def parse(cls, text: str) -> "Size":
        """Read `T,B,I,H`, or `T,B` where weights tell I and H (which are 0 then).

        Raises:
            UsageError: it is neither, or a number is below 1.
        """
        parts = text.replace(" ", "").split(",")
        fine = all(part.isdecimal() and len(part) < DIGITS and int(part) for part in parts)
        if len(parts) not in (2, 4) or not fine:
            raise UsageError(
                f"size is {one_line(text, 60)!r}, expected T,B,I,H, each 1 or more, as "
                "100,32,64,128; or, with weights, T,B"
            )
        numbers = [*map(int, parts), 0, 0]
        return cls(*numbers[:4])


class Job(NamedTuple):
    """What one timing is of: a case, forward only or with gradients."""

    case: Case
    mode: str


STREAMING = (Size(1, 1, 64, 64), Size(64, 1, 32, 32), Size(200, 1, 256, 256))
MEDIUM = (Size(100, 32, 64, 128), Size(100, 64, 512, 512))

PRESETS: dict[str, tuple[str, tuple[Size, ...]]] = {
    "notebook": ("the sizes of a first lesson", (Size(5, 4, 5, 3),)),
    "streaming": ("one sequence at a time, as in inference", STREAMING),
    "medium": ("a middling network, and PyTorch's own benchmark (fastrnns)", MEDIUM),
    "long": (
        "many steps: small and wide (FlashRNN)",
        (Size(10000, 1, 16, 16), Size(1024, 16, 768, 768)),
    ),
    "glample": (
        "rnn-benchmarks, G. Lample",
        tuple(Size(30, B, H, H) for B in (32, 128) for H in (128, 512, 1024)),
    ),
    "stefbraun": (
        "LSTM benchmarks, S. Braun (2018)",
        (Size(100, 64, 123, 320), Size(1000, 32, 123, 320)),
    ),
    "deepbench": (
        "DeepBench's vanilla RNN, as a tanh variant with input product (theirs: ReLU, none)",
        tuple(Size(50, B, H, H) for H in (1760, 2048, 2560) for B in (16, 32, 64, 128)),
    ),
    "cpu": (
        "some of each, for about four minutes",
        (
            Size(5, 4, 5, 3),
            *STREAMING,
            *MEDIUM,
            Size(10000, 1, 16, 16),
            Size(30, 32, 128, 128),
            Size(30, 32, 1024, 1024),
            Size(100, 64, 123, 320),
            Size(50, 16, 1760, 1760),
        ),
    ),
    "gpu": (
        "what GPU kernels are made for, small and wide (FlashRNN), and many steps",
        (
            Size(256, 1, 64, 64),
            Size(256, 32, 128, 128),
            Size(256, 32, 512, 512),
            MEDIUM[1],
            Size(1024, 16, 768, 768),
            Size(10000, 16, 16, 16),
        ),
    ),
    "quick": ("three sizes, for a first look", (*STREAMING[:2], MEDIUM[0])),
}

# Sizes that are also timed with gradients, under presets of which not all are.
WITH_GRADIENTS = {
    "quick": (MEDIUM[0],),
    "gpu": (Size(256, 32, 128, 128), Size(256, 32, 512, 512), Size(1024, 16, 768, 768)),
    "cpu": (STREAMING[1], MEDIUM[0], Size(30, 32, 128, 128), Size(100, 64, 123, 320)),
}

# Rows of the batch that are judged: a sample of what is timed.
JUDGED = 2

# What is timed on a user's weights, if no sizes are given: one sequence at a time, and a batch.
ON_WEIGHTS = ("100,1", "100,32")


def jobs(preset: str, dtypes: tuple[str, ...] = ("float32",), kind: str = "rnn") -> list[Job]:
    """Return what a preset times.

    Args:
        preset: of sizes, by name.
        dtypes: what to time in.
        kind: of layers: "rnn", "gru" or "lstm".

    Raises:
        UsageError: there is no such preset.
    """
    check_name(preset)
    timed = PRESETS[preset][1]
    found = of_sizes(timed, dtypes, kind)
    of_both = WITH_GRADIENTS.get(preset, timed)
    return [j for j in found if j.mode == FORWARD or _size(j.case) in of_both]


def check_name(preset: str) -> None:
    """Refuse a name that no preset of sizes has.

    Raises:
        UsageError: it is none.
    """
    if preset not in PRESETS:
        raise UsageError(no_such("preset of sizes", preset, PRESETS))


def of_sizes(
    given: Sequence[Size], dtypes: tuple[str, ...] = ("float32",), kind: str = "rnn"
) -> list[Job]:
    """Return what is timed of sizes: each forward only, and with gradients.

    Args:
        given: sizes.
        dtypes: what to time in.
        kind: of layers: "rnn", "gru" or "lstm".

    Raises:
        UsageError: a size says no I and H.
    """
    for size in given:
        if not size.I:
            raise UsageError(
                f"size is {size.T},{size.B}, expected T,B,I,H: only weights tell I and H"
            )
    cases = [
        Case(
            config=RNNConfig(input_size=size.I, hidden_size=size.H, kind=kind),
            T=size.T,
            B=size.B,
            dtype=dtype,
            judged=JUDGED,
        )
        for dtype in dtypes
        for size in given
    ]
    return [Job(case, mode) for case in cases for mode in (FORWARD, GRADIENTS)]


def on_weights(
    case: Case, given: Sequence[Size], dtypes: tuple[str, ...] | None = None
) -> list[Job]:
    """Return what is timed on a user's weights: each size forward only, and with gradients.

    Args:
        case: on the weights; if it has an input of its own, that one's T and B are timed, too.
        given: T and B; the I and H of the weights, if they say any. A choice of ours if none.
        dtypes: what to time in; the case's own if None.

    Raises:
        UsageError: another I or H than the weights have.
    """
    config = case.config
    own = [] if case.inputs is None or given else [Size(case.T, case.B or 1, 0, 0)]
    wanted = [*own, *given] or [Size.parse(text) for text in ON_WEIGHTS]
    for size in wanted:
        if size.I and (config.input_size, config.hidden_size) != (size.I, size.H):
            raise UsageError(
                f"size is {','.join(map(str, size))}, but the weights have I = {config.input_size} "
                f"and H = {config.hidden_size}: give T,B"
            )
    plain = case.replace(inputs=None, ragged=False, h0=True, invariants=False, judged=JUDGED)
    cases = [
        plain.replace(T=size.T, B=size.B, dtype=dtype)
        for dtype in dtypes or (case.dtype,)
        for size in wanted
    ]
    return [Job(one, mode) for one in cases for mode in (FORWARD, GRADIENTS)]


def _size(case: Case) -> Size:
    return Size(case.T, case.B or 1, case.config.input_size, case.config.hidden_size)


def floating_point_operations(case: Case) -> float:
    """Return those of the matrix products of one forward pass; the rest is not counted."""
    config, D = case.config, case.config.num_directions
    I, H, steps = config.input_size, config.hidden_size, case.T * (case.B or 1)
    per_step = sum(D * H * ((I if k == 0 else D * H) + H) for k in range(config.num_layers))
    return 2.0 * config.num_gates * steps * per_step


def compulsory_bytes(case: Case) -> float:
    """Return what one forward pass must read and write at least: x, states, weights, output."""
    config, B = case.config, case.B or 1
    D, H, I = config.num_directions, config.hidden_size, config.input_size
    size = {"float64": 8, "float32": 4}.get(case.dtype, 2)
    weights = sum(D * H * ((I if k == 0 else D * H) + H + 2) for k in range(config.num_layers))
    states = 2 * len(config.states) * config.num_cells * B * H
    return float(size * (case.T * B * (I + D * H) + config.num_gates * weights + states))
