"""Writes blocks.gguf, random blocks of every GGML encoding that Roofline reads,
and expected.safetensors, the floats that the reference decoders of the Python
package `gguf` give for them. Needs gguf and numpy."""

import json
import struct

import gguf
import numpy as np

ROWS, COLS = 3, 512
rng = np.random.default_rng(20)
TYPES = [
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
]
# Where a block holds f16 scales: random bytes would give infinities there.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2],
    "Q6_K": [208],
}


def blocks(name):
    kind = gguf.GGMLQuantizationType[name]
    if name in ("F32", "F16", "BF16"):
        values = rng.normal(size=(ROWS, COLS)).astype(np.float32)
        if name == "F32":
            return values, values
        if name == "F16":
            half = values.astype(np.float16)
            return half, half.astype(np.float32)
        raw = (values.view(np.uint32) >> 16).astype(np.uint16)
        return raw.view(np.uint8), (raw.astype(np.uint32) << 16).view(np.float32)
    values, size = gguf.GGML_QUANT_SIZES[kind]
    count = ROWS * COLS // values
    raw = rng.integers(0, 256, size=(count, size), dtype=np.uint8)
    for at in HALVES[name]:
        halves = rng.normal(scale=0.1, size=count).astype(np.float16)
        raw[:, at : at + 2] = halves.view(np.uint8).reshape(count, 2)
    raw = raw.reshape(ROWS, -1)
    return raw, gguf.quants.dequantize(raw, kind)


writer = gguf.GGUFWriter("blocks.gguf", "llama")
header, data = {}, b""
for name in TYPES:
    raw, floats = blocks(name)
    writer.add_tensor(
        name, raw, raw_dtype=gguf.GGMLQuantizationType[name])
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
