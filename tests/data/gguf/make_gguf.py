"""Makes the tiny GGUF files beside it from the golden `llama`, and their logits.

The weights are permuted and quantized as llama.cpp's converter does. The logits
are computed here, in float64, from the weights as the package `gguf` decodes
them: a second opinion on block formats and on the order of rotary pairs.

    python make_gguf.py        (packages: numpy, safetensors, gguf, ml_dtypes)
"""

import json
import struct
from pathlib import Path

import gguf
import ml_dtypes  # noqa: F401  (bfloat16 for safetensors)
import numpy as np
from safetensors.numpy import load_file, save_file

HERE = Path(__file__).parent
GOLDEN = HERE.parent.parent / "goldens" / "llama"
TOKENS = 24
Type = gguf.GGMLQuantizationType

# file name: (GGUF version, type of a matrix by its name)
FILES = {
    "llama-f16": (3, lambda name: Type.F16),
    "llama-q8_0": (3, lambda name: Type.Q8_0),
    "llama-q4_0-v2": (2, lambda name: Type.Q4_0),
    "llama-q4_1": (3, lambda name: Type.Q4_1),
    # q, k and v (and gate and up) are read together and differ in type.
    "llama-mixed": (
        3,
        lambda name: Type.Q8_0
        if "attn_v" in name or "ffn_down" in name
        else Type.F16
        if "ffn_up" in name or "output" in name
        else Type.Q5_1
        if "attn_k" in name
        else Type.Q4_0,
    ),
}

RENAME = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
RENAME_LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    if name in RENAME:
        return RENAME[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{RENAME_LAYER[rest.removesuffix('.weight')]}.weight"


def permute(weight, heads):
    """Half-split rotary pairs become neighbours, head by head."""
    rows, cols = weight.shape
    split = weight.reshape(heads, 2, rows // heads // 2, cols)
    return split.swapaxes(1, 2).reshape(rows, cols)


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def rotate(x, theta):
    """x: [heads, tokens, dim]; pairs are neighbours (2i, 2i + 1)."""
    dim = x.shape[-1]
    angles = np.outer(
        np.arange(x.shape[1]), theta ** (-np.arange(0, dim, 2) / dim)
    )
    even, odd = x[..., 0::2], x[..., 1::2]
    out = np.empty_like(x)
    out[..., 0::2] = even * np.cos(angles) - odd * np.sin(angles)
    out[..., 1::2] = even * np.sin(angles) + odd * np.cos(angles)
    return out


def logits(w, config, theta, ids):
    """w: decoded weights under GGUF's names. Returns [tokens, vocab]."""
    heads, kv_heads = (
        config["num_attention_heads"],
        config["num_key_value_heads"],
    )
    dim, eps, n = config["head_dim"], config["rms_norm_eps"], len(ids)

    def split(x, count):
        return x.reshape(n, count, dim).swapaxes(0, 1)

    x = w["token_embd.weight"][ids]
    for i in range(config["num_hidden_layers"]):
        b = f"blk.{i}."
        h = rms_norm(x, w[b + "attn_norm.weight"], eps)
        q = rotate(split(h @ w[b + "attn_q.weight"].T, heads), theta)
        k = rotate(split(h @ w[b + "attn_k.weight"].T, kv_heads), theta)
        v = split(h @ w[b + "attn_v.weight"].T, kv_heads)
        k, v = (np.repeat(a, heads // kv_heads, axis=0) for a in (k, v))
        scores = q @ k.swapaxes(1, 2) / np.sqrt(dim)
        scores += np.triu(np.full((n, n), -np.inf), 1)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        y = (scores / scores.sum(-1, keepdims=True)) @ v
        y = y.swapaxes(0, 1).reshape(n, heads * dim)
        x = x + y @ w[b + "attn_output.weight"].T
        h = rms_norm(x, w[b + "ffn_norm.weight"], eps)
        gate, up = (h @ w[b + f"ffn_{m}.weight"].T for m in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[b + "ffn_down.weight"].T
    return rms_norm(x, w["output_norm.weight"], eps) @ w["output.weight"].T


def write(path, config, theta, weights, version, type_of):
    """Writes the file; returns the weights as they will be decoded."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(theta)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    decoded = {}
    for name, weight in weights.items():
        kind = type_of(name) if weight.ndim == 2 else Type.F32
        data = gguf.quants.quantize(weight, kind)
        decoded[name] = gguf.quants.dequantize(data, kind).astype(np.float64)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open(path, "r+b") as file:
        file.seek(4)
        file.write(struct.pack("<I", version))
    return decoded


def main():
    config = json.loads((GOLDEN / "config.json").read_text())
    theta = (config.get("rope_parameters") or config)["rope_theta"]
    golden = load_file(GOLDEN / "golden.safetensors")
    ids = golden["input_ids"][0][:TOKENS]
    weights = {}
    for name, weight in load_file(GOLDEN / "model.safetensors").items():
        weight = weight.astype(np.float32)
        if "q_proj" in name:
            weight = permute(weight, config["num_attention_heads"])
        if "k_proj" in name:
            weight = permute(weight, config["num_key_value_heads"])
        weights[gguf_name(name)] = weight

    exact = {name: w.astype(np.float64) for name, w in weights.items()}
    error = logits(exact, config, theta, ids) - golden["logits"][0][:TOKENS]
    assert abs(error).max() < 1e-4, "this file's mathematics is wrong"

    out = {"input_ids": ids.astype(np.int32)}
    for name, (version, type_of) in FILES.items():
        path = HERE / f"{name}.gguf"
        decoded = write(path, config, theta, weights, version, type_of)
        out[name] = logits(decoded, config, theta, ids).astype(np.float32)
    save_file(out, HERE / "expected.safetensors")


if __name__ == "__main__":
    main()
