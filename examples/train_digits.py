"""Train a `torch.nn.RNN` to read handwritten digits, and write the model that the suite checks.

    pip install torch scikit-learn
    python examples/train_digits.py

An image of 8 x 8 pixels is read as 8 steps of 8 pixels; a linear layer reads the digit from the
last hidden state. Seeded; takes well under a minute on one core.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HIDDEN = 32
EPOCHS = 150
OUT = Path(__file__).parents[1] / "harness" / "rnnparity" / "data" / "digits.safetensors"


def main() -> None:
    """Train, print the accuracy on images never seen, and save."""
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=0.2, random_state=0, stratify=labels
    )
    rnn = torch.nn.RNN(8, HIDDEN)
    readout = torch.nn.Linear(HIDDEN, 10)
    parameters = [*rnn.parameters(), *readout.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=5e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)

    def scores(batch: np.ndarray) -> torch.Tensor:
        _, h_n = rnn(torch.from_numpy(batch / 16).transpose(0, 1))
        return readout(h_n[-1])

    for _ in range(EPOCHS):
        for rows in torch.randperm(len(train_x)).split(64):
            loss = torch.nn.functional.cross_entropy(
                scores(train_x[rows.numpy()]), torch.from_numpy(train_y)[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        schedule.step()

    with torch.no_grad():
        accuracy = (scores(test_x).argmax(1).numpy() == test_y).mean()
    print(f"test accuracy {accuracy:.1%} on {len(test_y)} images")
    if accuracy < 0.95:
        raise SystemExit("below 95%: nothing was written")

    modules = {"rnn": rnn, "readout": readout}
    tensors = {
        f"{prefix}.{name}": value.numpy()
        for prefix, module in modules.items()
        for name, value in module.state_dict().items()
    }
    save_file(tensors | {"images": test_x, "labels": test_y.astype(np.float32)}, OUT)
    print(f"wrote {OUT}")


if __name__ == "__main__":
    main()
