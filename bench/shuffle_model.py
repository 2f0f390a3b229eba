#!/usr/bin/env python3
"""Writes a model that computes the same as another one, with its channels in
another order: those of the residual stream, of each feed-forward, and of each
value head. Weights that came out of a block format of 32 or 256 columns lie in
no such block any more, so that no quantizer finds the grid of the source again.

  python3 bench/shuffle_model.py SOURCE TARGET

SOURCE: a folder of float safetensors of a llama or gemma3 model. Needs the MLX
package of Python.
"""

import json
import random
import shutil
import sys
from pathlib import Path

import mlx.core as mx


def order(count, seed):
    out = list(range(count))
    random.Random(seed).shuffle(out)
    return mx.array(out)


def shuffle(weights, config):
    config = config.get("text_config", config)
    dim = config["hidden_size"]
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads", heads)
    head_dim = config.get("head_dim") or dim // heads
    stream = order(dim, 1)
    out = {}
    for name, w in weights.items():
        layer = int(name.split("layers.")[1].split(".")[0]) if "layers." in name else 0
        hidden = order(config["intermediate_size"], 1000 + layer)
        values = [order(head_dim, 100000 * (1 + layer) + h) for h in range(kv_heads)]
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            pass
        elif name.endswith(("norm.weight", "layernorm.weight")):
            w = w[stream]
        elif name.endswith(("embed_tokens.weight", "lm_head.weight")):
            w = w[:, stream]
        elif name.endswith(("q_proj.weight", "k_proj.weight")):
            w = w[:, stream]
        elif name.endswith("v_proj.weight"):
            rows = [values[h] + h * head_dim for h in range(kv_heads)]
            w = w[mx.concatenate(rows)][:, stream]
        elif name.endswith("o_proj.weight"):
            group = heads // kv_heads
            cols = [values[h // group] + h * head_dim for h in range(heads)]
            w = w[stream][:, mx.concatenate(cols)]
        elif name.endswith(("gate_proj.weight", "up_proj.weight")):
            w = w[hidden][:, stream]
        elif name.endswith("down_proj.weight"):
            w = w[stream][:, hidden]
        else:
            sys.exit(f"{name}: no rule says how it is shuffled")
        out[name] = mx.contiguous(w)
    return out


def main(source, target):
    source, target = Path(source), Path(target)
    mx.set_default_device(mx.cpu)
    weights = {}
    for file in sorted(source.glob("*.safetensors")):
        weights.update(mx.load(str(file)))
    config = json.loads((source / "config.json").read_text())
    target.mkdir(parents=True)
    shuffled = shuffle(weights, config)
    mx.save_safetensors(
        str(target / "model.safetensors"), shuffled, metadata={"format": "pt"}
    )
    for file in source.iterdir():
        if file.suffix in {".json", ".jinja"} and "index" not in file.name:
            shutil.copy(file, target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
