"""PaddlePaddle: layers without biases are refused, or crash when called."""

import subprocess
import sys

CALLED = """
import paddle
layer = paddle.nn.LSTM(3, 4, num_layers={}, bias_ih_attr=False, bias_hh_attr=False)
layer(paddle.ones([2, 5, 3]))
"""

wrong = []
for layers in (1, 2):
    run = [sys.executable, "-c", CALLED.format(layers)]
    done = subprocess.run(run, capture_output=True, text=True)
    if done.returncode < 0:
        wrong.append(f"{layers} layer(s): killed by signal {-done.returncode}")
    elif done.returncode:
        wrong.append(f"{layers} layer(s): {done.stderr.strip().splitlines()[-1]}")
print("; ".join(wrong))
print("present" if wrong else "fixed")
