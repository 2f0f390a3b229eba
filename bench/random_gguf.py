"""Writes a GGUF of a known shape with random Q4_0 weights, for measuring speed
where the real weights aren't at hand. No vocabulary: engines run it by ids.

    python3 bench/random_gguf.py llama-3.2-1b|qwen2.5-3b OUT.gguf

Needs numpy and the `gguf` package.
"""

import argparse
import sys

import gguf
import numpy

SHAPES = {
    "llama-3.2-1b": dict(
        arch="llama", layers=16, hidden=2048, mlp=8192, heads=32, kv_heads=8,
        head_dim=64, vocabulary=128256, theta=500000.0, eps=1e-5, context=131072),
    "qwen2.5-3b": dict(
        arch="qwen2", layers=36, hidden=2048, mlp=11008, heads=16, kv_heads=2,
        head_dim=128, vocabulary=151936, theta=1000000.0, eps=1e-6, context=32768),
}
BLOCK = 32  # weights of one Q4_0 block: an f16 scale and 16 bytes


def q4_0(random, rows, columns):
    """Random blocks whose weights have a deviation of about 0.02."""
    blocks = numpy.empty((rows, columns // BLOCK, 18), dtype=numpy.uint8)
    scales = numpy.full(blocks.shape[:2], 0.02 / 4.6, dtype=numpy.float16)
    blocks[..., :2] = scales[..., None].view(numpy.uint8)
    blocks[..., 2:] = random.integers(
        0, 256, size=(*blocks.shape[:2], 16), dtype=numpy.uint8)
    return blocks.reshape(rows, -1)


def write(shape, path):
    random = numpy.random.default_rng(1)
    writer = gguf.GGUFWriter(path, shape["arch"])
    writer.add_context_length(shape["context"])
    writer.add_embedding_length(shape["hidden"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["mlp"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_key_length(shape["head_dim"])
    writer.add_value_length(shape["head_dim"])
    writer.add_rope_dimension_count(shape["head_dim"])
    writer.add_rope_freq_base(shape["theta"])
    writer.add_layer_norm_rms_eps(shape["eps"])
    writer.add_vocab_size(shape["vocabulary"])
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)

    def packed(name, rows, columns):
        writer.add_tensor(name, q4_0(random, rows, columns),
                          raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    def ones(name, size, value=1.0):
        writer.add_tensor(name, numpy.full(size, value, dtype=numpy.float32))

    hidden, mlp = shape["hidden"], shape["mlp"]
    queries = shape["heads"] * shape["head_dim"]
    keys = shape["kv_heads"] * shape["head_dim"]
    packed("token_embd.weight", shape["vocabulary"], hidden)
    ones("output_norm.weight", hidden)
    for layer in range(shape["layers"]):
        at = f"blk.{layer}."
        ones(at + "attn_norm.weight", hidden)
        ones(at + "ffn_norm.weight", hidden)
        packed(at + "attn_q.weight", queries, hidden)
        packed(at + "attn_k.weight", keys, hidden)
        packed(at + "attn_v.weight", keys, hidden)
        packed(at + "attn_output.weight", hidden, queries)
        packed(at + "ffn_gate.weight", mlp, hidden)
        packed(at + "ffn_up.weight", mlp, hidden)
        packed(at + "ffn_down.weight", hidden, mlp)
        if shape["arch"] == "qwen2":
            for name, size in (("q", queries), ("k", keys), ("v", keys)):
                ones(f"{at}attn_{name}.bias", size, 0.0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("out")
    options = parser.parse_args()
    write(SHAPES[options.shape], options.out)
    print(f"wrote {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
