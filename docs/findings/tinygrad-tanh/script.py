"""tinygrad: tanh of small arguments."""

import numpy as np
from tinygrad import Tensor

x = np.array([1e-6, 1e-5, 1e-4, 1e-3, 0.1, 1], "f4")
true = np.tanh(x.astype("f8"))
found = Tensor(x).tanh().numpy()
formula = 2 * (np.float32(1) / (np.float32(1) + np.exp(-2 * x))) - 1
print("x                     ", x)
print("tanh, relative error  ", np.abs(found / true - 1))
print("2 sigmoid(2x) - 1     ", np.abs(formula / true - 1))
x = np.array([1e-13])
print("float64 of 1e-13      ", np.abs(Tensor(x).tanh().numpy() / x - 1))
print("present" if np.abs(found / true - 1).max() > 1e-5 else "fixed")
