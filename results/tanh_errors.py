"""How large the error of tanh is in a framework, and inside of its RNN, on a device.

    python results/tanh_errors.py cpu > results/reference-tanh/cpu.md
    python results/tanh_errors.py cuda > results/reference-tanh/cuda.md

A layer of one unit with `weight_ih` 1, no recurrence and no bias returns tanh of its input. It is
given numbers of both signs from 2^-20 to 16, evenly spaced in their logarithm, and is compared
with float64's tanh. Errors are given as they are, relative, and in units in the last place (ULP).
"""

import sys
from collections.abc import Callable

import numpy as np

from rnnparity.problems.dtypes import spacing

COUNT = 2**18
Function = Callable[[np.ndarray], np.ndarray]


def inputs() -> np.ndarray:
    """Return the arguments, `[COUNT]`, float32."""
    size = 2.0 ** np.linspace(-20, 4, COUNT // 2)
    return np.concatenate((-size, size)).astype(np.float32)


def torch_functions(device: str) -> dict[str, Function]:
    """Return PyTorch's tanh, and those inside of its RNN, LSTM and GRU."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def plain(x: np.ndarray) -> np.ndarray:
        return torch.tanh(torch.from_numpy(x).to(device)).cpu().numpy()

    def in_rnn(hidden: int, steps: int) -> Function:
        rnn = torch.nn.RNN(1, hidden).to(device)
        with torch.no_grad():
            for name, parameter in rnn.named_parameters():
                parameter.fill_(1.0 if name == "weight_ih_l0" else 0.0)

        def call(x: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                given = torch.from_numpy(x).to(device).reshape(steps, -1, 1)
                return rnn(given)[0][:, :, 0].cpu().numpy().ravel()

        return call

    found = {"torch.tanh": plain}
    for hidden, steps in ((1, 1), (64, 1), (64, 128)):
        found[f"torch.nn.RNN, H={hidden}, T={steps}"] = in_rnn(hidden, steps)
    return found


def jax_functions(device: str) -> dict[str, Function]:
    """Return JAX's tanh, compiled."""
    import jax

    tanh = jax.jit(jax.numpy.tanh)
    there = jax.devices(device)[0]
    return {"jax.numpy.tanh": lambda x: np.asarray(tanh(jax.device_put(x, there)))}


def main(device: str) -> None:
    """Print a table."""
    import jax
    import torch

    x = inputs()
    true = np.tanh(x.astype(np.float64))
    card = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{card}; PyTorch {torch.__version__}, JAX {jax.__version__}; {COUNT} arguments\n")
    print("| tanh | largest error | relative | ULP | at |")
    print("|---|---|---|---|---|")
    for name, function in (torch_functions(device) | jax_functions(device)).items():
        error = np.abs(function(x) - true)
        ulp = error / spacing(true, "float32")
        worst = int(np.argmax(error))
        print(
            f"| {name} | {error.max():.3g} | {(error / np.abs(true)).max():.3g} "
            f"| {ulp.max():.3g} | {x[worst]:.4g} |"
        )


if __name__ == "__main__":
    main(sys.argv[1])
