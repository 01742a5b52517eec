"""Train a `torch.nn.RNN`, `GRU` and `LSTM` to read handwritten digits: the models that are checked.

    pip install torch scikit-learn
    python examples/train_digits.py

An image of 8 x 8 pixels is read as 8 steps of 8 pixels; a linear layer reads the digit from the
last hidden state. Seeded; takes a few minutes on one core.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HIDDEN = 32
EPOCHS = 150
OUT = Path(__file__).parents[1] / "harness" / "rnnparity" / "data"


def main() -> None:
    """Train each kind, print the accuracy on images never seen, and save."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=0.2, random_state=0, stratify=labels
    )
    images = {"images": test_x, "labels": test_y.astype(np.float32)}
    for kind, layer, name in (
        ("rnn", torch.nn.RNN, "digits"),
        ("gru", torch.nn.GRU, "digits-gru"),
        ("lstm", torch.nn.LSTM, "digits-lstm"),
    ):
        torch.manual_seed(0)
        rnn, readout = layer(8, HIDDEN), torch.nn.Linear(HIDDEN, 10)
        train(rnn, readout, train_x, train_y)
        with torch.no_grad():
            accuracy = (scores(rnn, readout, test_x).argmax(1).numpy() == test_y).mean()
        print(f"{kind}: test accuracy {accuracy:.1%} on {len(test_y)} images")
        if accuracy < 0.95:
            raise SystemExit("below 95%: it was not written")
        tensors = {
            f"{prefix}.{tensor}": value.numpy()
            for prefix, module in {"rnn": rnn, "readout": readout}.items()
            for tensor, value in module.state_dict().items()
        }
        path = OUT / f"{name}.safetensors"
        save_file(tensors | (images if kind == "rnn" else {}), path)
        print(f"wrote {path}")


def scores(rnn: torch.nn.Module, readout: torch.nn.Module, batch: np.ndarray) -> torch.Tensor:
    """Return how much each digit is preferred, `[N, 10]`, of images `[N, 8, 8]`."""
    _, last = rnn(torch.from_numpy(batch / 16).transpose(0, 1))
    h_n = last[0] if isinstance(last, tuple) else last
    return readout(h_n[-1])


def train(
    rnn: torch.nn.Module, readout: torch.nn.Module, images: np.ndarray, labels: np.ndarray
) -> None:
    """Train both modules in place."""
    parameters = [*rnn.parameters(), *readout.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=5e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(64):
            loss = torch.nn.functional.cross_entropy(
                scores(rnn, readout, images[rows.numpy()]), torch.from_numpy(labels)[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        schedule.step()


if __name__ == "__main__":
    main()
