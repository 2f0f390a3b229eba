"""Writes the seeds under corpus/: small right files and near misses, one folder
for each target. Run it again after a change of a format."""

import hashlib
import json
import pathlib
import struct

ROOT = pathlib.Path(__file__).parent / "corpus"
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def save(target, name, data):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, item):
    if kind == STRING:
        return text(item)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<B"}[kind], item)


def pair(key, kind, item):
    return text(key) + struct.pack("<I", kind) + value(kind, item)


def array(key, kind, items):
    head = struct.pack("<IIQ", ARRAY, kind, len(items))
    return text(key) + head + b"".join(value(kind, i) for i in items)


def gguf(pairs, tensors, version=3):
    """tensors: (name, shape, type, bytes)."""
    infos, data = b"", b""
    for name, shape, kind, raw in tensors:
        data += b"\0" * (-len(data) % 32)
        infos += text(name) + struct.pack("<I", len(shape))
        infos += struct.pack(f"<{len(shape)}Q", *shape)
        infos += struct.pack("<IQ", kind, len(data))
        data += raw
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    out += b"".join(pairs) + infos
    return out + b"\0" * (-len(out) % 32) + data


def write_gguf():
    dim, hidden, vocab = 32, 32, 8
    llama = [
        pair("general.architecture", STRING, "llama"),
        pair("llama.block_count", U32, 1),
        pair("llama.context_length", U32, 16),
        pair("llama.embedding_length", U32, dim),
        pair("llama.feed_forward_length", U32, hidden),
        pair("llama.attention.head_count", U32, 1),
        pair("llama.rope.dimension_count", U32, dim),
        pair("llama.attention.layer_norm_rms_epsilon", F32, 1e-6),
        pair("llama.vocab_size", U32, vocab),
    ]
    words = [
        pair("tokenizer.ggml.model", STRING, "gpt2"),
        pair("tokenizer.ggml.pre", STRING, "smollm"),
        array("tokenizer.ggml.tokens", STRING, list("abcdefgh")),
        array("tokenizer.ggml.token_type", I32, [1] * 8),
        array("tokenizer.ggml.merges", STRING, ["a b"]),
        pair("tokenizer.ggml.add_bos_token", BOOL, 1),
        pair("tokenizer.ggml.eos_token_id", U32, 2),
    ]
    matrix = lambda rows: (2, b"\1" * (18 * rows))  # q4_0 rows of 32
    shapes = {
        "token_embd": vocab,
        "blk.0.attn_q": dim,
        "blk.0.attn_k": dim,
        "blk.0.attn_v": dim,
        "blk.0.attn_output": dim,
        "blk.0.ffn_gate": hidden,
        "blk.0.ffn_up": hidden,
        "blk.0.ffn_down": dim,
    }
    tensors = [
        (name + ".weight", [32, rows], *matrix(rows))
        for name, rows in shapes.items()
    ]
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        tensors.append((name + ".weight", [dim], 0, b"\0" * 4 * dim))
    save("gguf", "llama.gguf", gguf(llama + words, tensors))
    save("gguf", "version2.gguf", gguf(llama, tensors[:2], version=2))
    save("gguf", "vocabulary.gguf", gguf(words, []))
    # Type, values and bytes of a block.
    types = [
        (0, 1, 4), (1, 1, 2), (2, 32, 18), (3, 32, 20), (6, 32, 22),
        (7, 32, 24), (8, 32, 34), (10, 256, 84), (11, 256, 110),
        (12, 256, 144), (13, 256, 176), (14, 256, 210), (15, 256, 292),
        (16, 256, 66), (17, 256, 74), (18, 256, 98), (19, 256, 50),
        (20, 32, 18), (21, 256, 110), (22, 256, 82), (23, 256, 136),
        (24, 1, 1), (25, 1, 2), (26, 1, 4), (27, 1, 8), (28, 1, 8),
        (29, 256, 56), (30, 1, 2), (34, 256, 54), (35, 256, 66),
        (39, 32, 17), (40, 64, 36), (41, 128, 18),
    ]
    kinds = [
        (f"t{kind}", [count], kind, b"\2" * size)
        for kind, count, size in types
    ]
    save("gguf", "every_type.gguf", gguf([], kinds))
    nested = text("n") + struct.pack("<IIQ", ARRAY, ARRAY, 2)
    nested += (struct.pack("<IQ", I32, 2) + b"\1\0\0\0" * 2) * 2
    save("gguf", "nested.gguf", gguf([nested], []))
    save("gguf", "big_endian.gguf", b"GGUF" + struct.pack(">IQQ", 3, 0, 0))


def safetensors(entries):
    header, data = {}, b""
    for name, dtype, shape, raw in entries:
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    raw = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def write_safetensors():
    save("safetensors", "floats.safetensors", safetensors([
        ("a", "F32", [2, 2], b"\0" * 16),
        ("b", "BF16", [3], b"\1" * 6),
        ("c", "F16", [], b"\2" * 2),
        ("e", "U8", [0], b""),
    ]))
    save("safetensors", "packed.safetensors", safetensors([
        ("m.weight", "U32", [2, 4], b"\x12" * 32),
        ("m.scales", "F16", [2, 1], b"\1" * 4),
        ("m.biases", "F16", [2, 1], b"\2" * 4),
    ]))
    save("safetensors", "small_floats.safetensors", safetensors([
        ("m.weight", "U32", [2, 4], b"\x93" * 32),
        ("m.scales", "U8", [2, 2], b"\x38" * 4),
        ("n.weight", "U32", [2, 8], b"\x93" * 64),
        ("n.scales", "U8", [2, 1], b"\x80" * 2),
    ]))
    raw = b'{"__metadata__":{"format":"pt"}}'
    save("safetensors", "empty.safetensors", struct.pack("<Q", len(raw)) + raw)
    huge = struct.pack("<Q", 2**63) + raw
    save("safetensors", "huge_header.safetensors", huge)


def write_blob_file():
    key, blobs = b"key", [(b"a", 5), (b"b", 3)]
    size = 32 + len(key) + sum(20 + len(n) for n, _ in blobs) + 64
    entries, at = b"", 4096
    for name, count in blobs:
        entries += struct.pack("<QQI", at, count, len(name)) + name
        at += 4096
    head = b"RLBLOBS1" + struct.pack("<QQII", at, size, len(blobs), len(key))
    head += key + entries
    head += hashlib.sha256(head).hexdigest().encode()
    save("blob_file", "two.blobs", head + b"\7" * (at - len(head)))
    save("blob_file", "header_only.blobs", head)


def write_config():
    llama = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "vocab_size": 256,
        "max_position_embeddings": 512, "rope_theta": 10000.0,
        "eos_token_id": [1, 2], "tie_word_embeddings": False,
    }
    scaled = dict(llama, rope_scaling={
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 128})
    packed = dict(llama, quantization={
        "bits": 4, "group_size": 64, "m": {"bits": 8, "group_size": 32}})
    gemma = dict(
        llama, model_type="gemma3_text", head_dim=16, sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}})
    long = dict(llama, model_type="phi3", rope_scaling={
        "type": "longrope", "long_factor": [1.0] * 8, "short_factor": [1.0] * 8},
        original_max_position_embeddings=64, pad_token_id=0)
    modelopt = dict(llama, quantization_config={
        "quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16})
    compressed = dict(llama, quantization_config={
        "quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
            "num_bits": 4, "type": "float", "group_size": 16}}}})
    for name, config in [("llama", llama), ("scaled", scaled),
                         ("packed", packed), ("gemma3", gemma), ("phi3", long),
                         ("modelopt", modelopt), ("compressed", compressed)]:
        save("config", name + ".json", json.dumps(config).encode())
    save("config", "deep.json", b"[" * 200)


def write_names():
    """A line with the family, then tensor names."""
    layer = "model.layers.1."
    save("names", "llama.txt", "\n".join([
        "llama", "model.embed_tokens", "lm_head", layer + "self_attn.q_proj",
        layer + "mlp.gate_up_proj", "blk.0.attn_qkv", "model.layers.999999.x",
        "language_model.model.norm", "model.vision_tower.x"]).encode())
    save("names", "mixtral.txt", "\n".join([
        "mixtral", *[layer + f"block_sparse_moe.experts.{e}.w{i}.weight"
                     for e in range(2) for i in (1, 2, 3)],
        layer + "block_sparse_moe.experts..w1.weight",
        layer + "block_sparse_moe.gate.weight"]).encode())
    save("names", "granitemoe.txt", "\n".join([
        "granitemoe", layer + "block_sparse_moe.input_linear.weight",
        layer + "block_sparse_moe.input_linear.weight.",
        layer + "block_sparse_moe.output_linear.weight"]).encode())
    save("names", "gpt2.txt", "\n".join([
        "gpt2", "transformer.h.0.attn.c_attn.weight", "h.0.attn.bias",
        "h.1.mlp.c_fc.weight", "wte.weight"]).encode())
    save("names", "stablelm.txt", "\n".join([
        "stablelm", layer + "self_attn.q_layernorm.norms.3",
        layer + "self_attn.q_layernorm.norms.99"]).encode())


write_gguf()
write_safetensors()
write_blob_file()
write_config()
write_names()
