"""pnnx and ncnn: a torch.nn.RNN with tanh and with relu, converted and run."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import ncnn
import numpy as np
import pnnx  # noqa: F401  (its program is called below)
import torch

torch.manual_seed(0)
x, errors = torch.randn(7, 4), {}
for nonlinearity in ("tanh", "relu"):
    module = torch.nn.Sequential(torch.nn.RNN(4, 5, nonlinearity=nonlinearity)).eval()
    true = module(x)[0].detach().numpy()
    with TemporaryDirectory() as folder:
        torch.jit.trace(module, x).save(f"{folder}/a.pt")
        command = [Path(sys.executable).with_name("pnnx"), "a.pt", "inputshape=[7,4]"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        said = [line for line in done.stderr.splitlines() if "not supported" in line]
        net = ncnn.Net()
        net.load_param(f"{folder}/a.ncnn.param")
        net.load_model(f"{folder}/a.ncnn.bin")
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(x.numpy()).clone())
    found = np.array(extractor.extract("out0")[1])
    errors[nonlinearity] = np.abs(found - true).max()
    print(f"{nonlinearity}: exit {done.returncode}, {said}, error {errors[nonlinearity]:.1e}")
print("present" if errors["relu"] > 0.1 > errors["tanh"] else "fixed")
