#!/usr/bin/env python3
"""Makes optimizers.json: what PyTorch's and MLX's optimizers make of a matrix
and a vector in twelve steps whose gradients depend on them. Needs torch and
mlx; the tests read only the file.

    python3 tests/train/make_optimizers.py
"""

import json
import math
from pathlib import Path

import mlx.core as mx
import mlx.optimizers as mlx_optimizers
import numpy
import torch

HERE = Path(__file__).resolve().parent
SHAPES = [(6, 10), (9, 4), (1, 7)]
STEPS = 12
RATE, DECAY, MOMENTUM = 0.03, 0.05, 0.8


def start(shape):
    count = shape[0] * shape[1]
    values = [math.sin(1.0 + i) for i in range(count)]
    return numpy.array(values, dtype=numpy.float32).reshape(shape)


def gradient(w, step):
    """Of any array type: a bowl, and a slope that changes with the step."""
    return 0.5 * w + 0.3 * math.cos(0.7 * step)


def with_torch(make):
    out = []
    for shape in SHAPES:
        first = start(shape)
        w = torch.nn.Parameter(torch.from_numpy(first if shape[0] > 1 else first[0]))
        optimizer = make(w)
        for step in range(1, STEPS + 1):
            w.grad = gradient(w.detach(), step)
            optimizer.step()
        out.append(w.detach().flatten().tolist())
    return out


def with_mlx(make):
    out = []
    for shape in SHAPES:
        first = start(shape)
        w = {"w": mx.array(first if shape[0] > 1 else first[0])}
        optimizer = make()
        for step in range(1, STEPS + 1):
            w = optimizer.apply_gradients({"w": gradient(w["w"], step)}, w)
            mx.eval(w)
        out.append(numpy.array(w["w"]).flatten().tolist())
    return out


def muon(w):
    # PyTorch's takes matrices alone; vectors have AdamW's rule here.
    if w.ndim == 1:
        return torch.optim.AdamW([w], lr=RATE, weight_decay=DECAY)
    return torch.optim.Muon(
        [w], lr=RATE, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"
    )


def main():
    mx.set_default_device(mx.cpu)
    torch.set_num_threads(1)
    recorded = {
        "steps": STEPS,
        "learning_rate": RATE,
        "weight_decay": DECAY,
        "momentum": MOMENTUM,
        "shapes": SHAPES,
        "weights": {
            "adamw": with_torch(
                lambda w: torch.optim.AdamW([w], lr=RATE, weight_decay=DECAY)),
            "adam": with_torch(
                lambda w: torch.optim.Adam([w], lr=RATE, weight_decay=DECAY)),
            "sgd": with_torch(
                lambda w: torch.optim.SGD(
                    [w], lr=RATE, weight_decay=DECAY, momentum=MOMENTUM)),
            "muon": with_torch(muon),
            "lion": with_mlx(
                lambda: mlx_optimizers.Lion(
                    RATE, betas=[0.9, 0.999], weight_decay=DECAY)),
            "adafactor": with_mlx(
                lambda: mlx_optimizers.Adafactor(
                    RATE, relative_step=False, scale_parameter=False,
                    weight_decay=DECAY)),
        },
    }  # fmt: skip
    for lists in recorded["weights"].values():
        lists[:] = [[round(value, 6) for value in values] for values in lists]
    text = json.dumps(recorded)
    (HERE / "optimizers.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
