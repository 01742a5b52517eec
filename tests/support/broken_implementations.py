"""Writes broken implementations: each is numpy-loop with one thing wrong."""

WRONG = {
    "raises": ("raise ValueError('no such thing')", "error", "raises ValueError: no such thing"),
    "exits": ("import os; os._exit(7)", "error", "exited with code 7"),
    "sysexits": ("raise SystemExit(3)", "error", "raises SystemExit(3)"),
    "segfaults": ("import ctypes; ctypes.string_at(0)", "error", "SIGSEGV"),
    "hangs": ("import time; time.sleep(1e6)", "error", "gave no answer in"),
    "shape": ("output = output[:, :, :-1]", "fail", "of shape"),
    "dtype": ("output = output.astype('float64')", "fail", "in float64, expected float32"),
    "nan": ("output[-1, 0, 0] = float('nan')", "fail", "not a finite number"),
    "in_place": ("x *= 2", "fail", "changed its argument x in place"),
    "weights_in_place": ("cell[1][:] = 0", "fail", "changed its argument weight"),
    "nothing": ("return None", "fail", "returned a NoneType, expected (output, h_n)"),
    "list": ("output = output.tolist()", "fail", "as a list"),
    "keyboard": ("raise KeyboardInterrupt", "error", "raises KeyboardInterrupt"),
    "panics": ("raise type('Panic', (BaseException,), {})('oh')", "error", "raises Panic: oh"),
    "own_type": ("output = output.view(Own)", "pass", ""),
    "unprintable": ("raise Unprintable", "error", "raises Unprintable"),
    "caches": ("output, h_n = CACHE.setdefault(x.shape, (output, h_n))", "fail", "is it cached?"),
    "reuses": (
        "output = BUFFERS.setdefault(x.shape, output); "
        "output[:] = numpy_loop.layer(x, h0, prepared, nonlinearity)[0]",
        "fail",
        "a later call changed the output",
    ),
    "by_row": ("output *= np.float32(1 + 1e-3 * (len(h0) == 1))", "fail", "a batch row alone"),
    "by_length": ("output[0] *= np.float32(1 + (len(x) < 32) * 1e-3)", "fail", "chunks"),
}

SOURCE = """
import numpy as np

from recurrences.elman import numpy_loop

framework = "numpy"
CACHE, BUFFERS = {{}}, {{}}


class Own(np.ndarray):
    pass


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError


def layer(x, h0, cell, nonlinearity):
    prepared = numpy_loop.prepare(cell, nonlinearity)
    output, h_n = numpy_loop.layer(x, h0, prepared, nonlinearity)
    {wrong}
    return output, h_n
"""


def write(folder, name):
    """Write one into a folder and return its path."""
    path = folder / f"{name}.py"
    path.write_text(SOURCE.format(wrong=WRONG[name][0]))
    return path
