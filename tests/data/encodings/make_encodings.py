"""Writes blocks.gguf, random blocks of every GGML encoding that Roofline reads,
and expected.safetensors, the floats that the reference decoders of the Python
package `gguf` give for them. Needs gguf (as llama.cpp has it, for Q2_0) and numpy."""

import json
import struct

import gguf
import numpy as np

ROWS, COLS = 2, 512
rng = np.random.default_rng(20)
TYPES = [
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
    "F64", "I8", "I16", "I32", "I64", "Q1_0", "Q8_K", "IQ1_S", "IQ1_M",
    "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS",
    "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q2_0",
]
# Where a block holds f16 scales: random bytes would give infinities there.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2],
    "Q6_K": [208], "Q1_0": [0], "IQ1_S": [0], "IQ2_XXS": [0], "IQ2_XS": [0],
    "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ4_NL": [0], "IQ4_XS": [0],
    "TQ1_0": [52], "TQ2_0": [64], "Q2_0": [0],
}
PLAIN = {"F32": "f4", "F16": "f2", "F64": "f8", "I8": "i1", "I16": "i2",
         "I32": "i4", "I64": "i8"}


def spread_half(raw, halves):
    """IQ1_M keeps its f16 in the upper four bits of four 16-bit words."""
    words = raw[:, 48:56].copy().view(np.uint16)
    bits = halves.view(np.uint16).astype(np.uint32)
    for i in range(4):
        words[:, i] = words[:, i] & 0x0FFF | (bits >> 4 * i & 15) << 12
    raw[:, 48:56] = words.view(np.uint8)


def decode(raw, kind, name):
    """The package has no decoder for three types, which are plain enough."""
    if name == "Q1_0":
        scale = raw[:, :2].copy().view(np.float16).astype(np.float32)
        bits = np.unpackbits(raw[:, 2:], axis=1, bitorder="little")
        return scale * (2.0 * bits - 1).astype(np.float32)
    if name == "Q2_0":
        scale = raw[:, :2].copy().view(np.float16).astype(np.float32)
        codes = raw[:, 2:, None] >> np.arange(0, 8, 2, dtype=np.uint8) & 3
        return scale * (codes.reshape(len(raw), -1).astype(np.float32) - 1)
    if name == "Q8_K":
        scale = raw[:, :4].copy().view(np.float32)
        return scale * raw[:, 4:260].view(np.int8).astype(np.float32)
    return gguf.quants.dequantize(raw.reshape(ROWS, -1), kind)


def blocks(name):
    kind = gguf.GGMLQuantizationType[name]
    if name in PLAIN:
        values = rng.normal(scale=1 if name[0] == "F" else 40, size=(ROWS, COLS))
        values = values.astype(PLAIN[name])
        return values, values.astype(np.float32)
    if name == "BF16":
        values = rng.normal(size=(ROWS, COLS)).astype(np.float32)
        raw = (values.view(np.uint32) >> 16).astype(np.uint16)
        return raw.view(np.uint8), (raw.astype(np.uint32) << 16).view(np.float32)
    values, size = gguf.GGML_QUANT_SIZES[kind]
    count = ROWS * COLS // values
    raw = rng.integers(0, 256, size=(count, size), dtype=np.uint8)
    halves = rng.normal(scale=0.1, size=count).astype(np.float16)
    for at in HALVES.get(name, []):
        raw[:, at : at + 2] = halves.view(np.uint8).reshape(count, 2)
        halves = rng.normal(scale=0.1, size=count).astype(np.float16)
    if name == "IQ1_M":
        spread_half(raw, halves)
    if name == "Q8_K":
        raw[:, :4] = halves.astype(np.float32).view(np.uint8).reshape(count, 4)
    if name == "MXFP4":
        raw[:, 0] = rng.integers(100, 130, size=count)
        raw[:2, 0] = [0, 1]
    return raw.reshape(ROWS, -1), decode(raw, kind, name)


writer = gguf.GGUFWriter("blocks.gguf", "llama")
header, data = {}, b""
for name in TYPES:
    raw, floats = blocks(name)
    kind = gguf.GGMLQuantizationType[name]
    writer.add_tensor(name, raw, raw_dtype=None if name in PLAIN else kind)
    payload = np.ascontiguousarray(floats, np.float32).tobytes()
    header[name] = {
        "dtype": "F32",
        "shape": [ROWS, COLS],
        "data_offsets": [len(data), len(data) + len(payload)],
    }
    data += payload
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open("expected.safetensors", "wb") as out:
    out.write(struct.pack("<Q", len(text)) + text + data)
