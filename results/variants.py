"""Time our implementations against variants of themselves: what each choice in them is worth.

    python results/variants.py results/reference-variants

A variant is an implementation's own source with a few passages replaced. All are timed as any
implementation is: judged first, then in turns, at the sizes of the preset `cpu`.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from recurrences import elman

SCRIPTED = """
@torch.jit.script
def _scripted(
    x: torch.Tensor, h0: torch.Tensor, weight_ih: torch.Tensor, weight_hh: torch.Tensor,
    bias: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    output = torch.nn.functional.linear(x, weight_ih, bias)
    if x.size(1) == 1:
        v = h0[0]
        for v_t in output[:, 0].unbind():
            v = v_t.addmv_(weight_hh, v).tanh_()
        return output, v[None].clone()
    h, transposed = h0, weight_hh.t()
    for h_t in output.unbind():
        h = h_t.addmm_(h, transposed).tanh_()
    return output, h.clone()


def layer(x, h0, cell, nonlinearity):
    return _scripted(x, h0, cell.weight_ih, cell.weight_hh, cell.bias)
"""

# Files of the run that are kept.
KEPT = ("environment.json", "records.jsonl", "timings.jsonl", "report.md")

# Per implementation, by the variant's name: what takes the place of what.
VARIANTS: dict[str, dict[str, dict[str, str]]] = {
    "numpy_loop": {
        "numpy_strided": {"_aligned(weight_hh.T)": "weight_hh.T"},
        "numpy_unaligned": {
            "a.nbytes + CACHE_LINE": "a.nbytes + 2 * CACHE_LINE",
            "% CACHE_LINE": "% CACHE_LINE + 16",
        },
        "numpy_np_dot": {"h.dot(from_h, recurrent)": "np.dot(h, from_h, recurrent)"},
        "numpy_matmul": {"h.dot(from_h, recurrent)": "np.matmul(h, from_h, recurrent)"},
        "numpy_iterated": {"in list(output):": "in output:"},
    },
    "jax_scan": {
        "jax_all_at_once": {"ROWS, ROWS_PER_UNIT = 2**10, 4": "ROWS, ROWS_PER_UNIT = 2**60, 2**60"},
        "jax_in_place": {
            "if in_step else input_t": "if in_step else output[t]",
            "(times, inputs if in_step else inputs @ from_x)": "(times, inputs)",
            "length = T if in_step else _block_length(T, B, H)": "length = T",
            "(h0, jnp.zeros((T, B, H), x.dtype))": (
                "(h0, jnp.zeros((T, B, H), x.dtype) if in_step else x @ from_x)"
            ),
        },
        "jax_small_blocks": {"ROWS, ROWS_PER_UNIT = 2**10, 4": "ROWS, ROWS_PER_UNIT = 2**8, 4"},
        "jax_each_step": {"IN_STEP_UP_TO = 2**9": "IN_STEP_UP_TO = 2**60"},
        "jax_never_in_step": {"IN_STEP_UP_TO = 2**9": "IN_STEP_UP_TO = 0"},
        "jax_stacked": {
            "return (h, jax.lax.dynamic_update_index_in_dim(output, h, t, axis=0)), None": (
                "return (h, output), h"
            ),
            "(h, output), _ = jax.lax.scan(block, (h0, jnp.zeros((T, B, H), x.dtype)), blocks)": (
                "(h, _), stacked = jax.lax.scan(block, (h0, ()), blocks)"
            ),
            "return output, h\n": "return stacked.reshape(T, B, H), h\n",
        },
        "jax_bias_before": {
            "projected_t + bias + h @ from_h": "projected_t + h @ from_h",
            "input_t @ from_x if": "input_t @ from_x + bias if",
            "inputs @ from_x)": "inputs @ from_x + bias)",
        },
        "jax_not_unrolled": {"return 2 if B * H * H >= UNROLL_FROM else 1": "return 1"},
        "jax_unrolled": {"return 2 if B * H * H >= UNROLL_FROM else 1": "return 4"},
        "jax_transposed": {
            "@partial(jax.custom_vjp, nondiff_argnums=(0,))\n": "",
            "_layer.defvjp(_forward, _backward)": "",
        },
    },
    "torch_loop": {
        "torch_no_grad": {"torch.inference_mode()": "torch.no_grad()"},
        "torch_not_copied": {"COPIED_UP_TO = 2**10": "COPIED_UP_TO = 0"},
        "torch_addmm": {"elif B == 1:": "elif B == 0:"},
        "torch_mkl": {"ONEDNN_FROM = 2**20": "ONEDNN_FROM = 2**60"},
        "torch_projected": {"INPUTS_PER_ROW = 32": "INPUTS_PER_ROW = 0"},
        "torch_autograd": {"if len(x) >= LONG:": "if len(x) >= 2**40:"},
        "torch_scripted": {
            'framework = "torch"': 'framework = "torch"\ngradients = False',
            "\ndef layer(": "\ndef _layer(",
            "_ACTIVATE = {": f"{SCRIPTED}\n_ACTIVATE = {{",
        },
    },
    "numba_fused": {
        "numba_python_errors": {'error_model="numpy"': 'error_model="python"'},
        "numba_four_rows": {"EIGHT_FROM = 48": "EIGHT_FROM = 2**40"},
        "numba_unaligned": {
            "a.nbytes + CACHE_LINE": "a.nbytes + 2 * CACHE_LINE",
            "% CACHE_LINE": "% CACHE_LINE + 16",
        },
        "numba_blas": {"BLAS_FROM = 2**25": "BLAS_FROM = 0"},
        "numba_no_blas": {"BLAS_FROM = 2**25": "BLAS_FROM = 2**60"},
    },
}


def source(implementation: str, variant: str) -> str:
    """Return a variant's source.

    Raises:
        ValueError: the implementation has a passage no more that is replaced.
    """
    text = (Path(elman.__path__[0]) / f"{implementation}.py").read_text(encoding="utf-8")
    for old, new in VARIANTS[implementation][variant].items():
        if old not in text:
            raise ValueError(f"{variant}: {implementation}.py does not have {old!r}")
        text = text.replace(old, new)
    return text


def main(out: Path) -> int:
    """Time all in one run, and return the run's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for implementation, variants in VARIANTS.items():
            names.append(implementation.replace("_", "-"))
            for variant in variants:
                names.append(f"{variant}.py")
                Path(folder, names[-1]).write_text(source(implementation, variant), "utf-8")
        command = [sys.executable, "-m", "rnnparity", "bench", *names, "--processes", "3"]
        command += ["--out", "run"]
        code = subprocess.run(command, cwd=folder, check=False).returncode
        out.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            shutil.copy(Path(folder, "run", name), out)
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
