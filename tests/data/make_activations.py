#!/usr/bin/env python3
"""activations.json: what torch makes of transformers' activations, and their slopes,
in float64. needs torch and transformers.

    make_activations.py > activations.json
"""

import json

import torch
from transformers.activations import ACT2FN

NAMES = [
    "silu", "gelu", "gelu_python", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_new", "gelu_fast", "gelu_accurate",
    "relu", "relu2", "quick_gelu", "gelu_10", "mish", "hardswish", "leaky_relu", "relu6", "tanh", "sigmoid", "laplace",
    "linear",
]  # fmt: skip

# Between the kinks, and far out on both sides.
X = [round(-12.13 + 0.61 * i, 2) for i in range(40)] + [-60.0, 30.5, 90.0]


def main():
    out = {"x": X}
    for name in NAMES:
        x = torch.tensor(X, dtype=torch.float64, requires_grad=True)
        y = ACT2FN[name](x)
        (slope,) = torch.autograd.grad(y.sum(), x)
        out[name] = {"y": [float(f"{v:.9g}") for v in y.tolist()], "slope": [float(f"{v:.9g}") for v in slope.tolist()]}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
