"""Decode speed with a draft model against plain, for pairs of models that share a
vocabulary and help each other much, little or not at all: made of one model by
`roofline convert` in other bits and with fewer layers, and of random weights.

    python3 bench/draft_pairs.py [--model MODEL] [--folder /tmp/draft-pairs] [--rounds 7]

Asked for: never below 0.95 of plain. Both ways run in turn, so that they had the
same neighbours; "of plain" is how far plain runs lie from their own median. Needs about 3 GB in the folder, which stays; only Python's
standard library is used here.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import struct
import subprocess

import speculative

ROOT = speculative.ROOT
FEW_LAYERS = 10
IDLE_LAYERS = 60
#: (model, draft model); "source" is what all are made of.
PAIRS = [
    ("deep", "source"),    # a large model that says the same
    ("deep", "few-q4"),    # a large model that says something else
    ("bf16", "source"),    # the same weights, a quarter of the bytes
    ("bf16", "q4"),        # about the same weights
    ("q8", "q4"),
    ("bf16", "bf16"),      # itself: all comes true, nothing is gained
    ("q4", "q4"),
    ("q4", "bf16"),        # the draft model is the larger one
    ("few-q4", "q4"),      # three times as large
    ("bf16", "few-q4"),    # cheap, and hardly ever right
    ("q4", "few-q4"),
    ("random-q4", "q4"),   # cheap, and never right
    ("q4", "random-q4"),   # large, and never right
]


def read_safetensors(path):
    """(header, bytes) of a file."""
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size)), file.read()


def write_safetensors(path, tensors):
    """tensors: {name: (dtype, shape, bytes)}"""
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def copy_folder(source, target, tensors, **fields):
    """A model of these tensors whose other files are those of `source`."""
    target.mkdir()
    for file in source.iterdir():
        if not file.name.startswith("model.safetensors"):
            shutil.copy(file, target)
    config = json.loads((source / "config.json").read_text()) | fields
    (target / "config.json").write_text(json.dumps(config))
    write_safetensors(target / "model.safetensors", tensors)


def tensors_of(folder):
    header, data = read_safetensors(folder / "model.safetensors")
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"],
                   data[slice(*entry["data_offsets"])])
            for name, entry in header.items()}


def layer_of(name):
    parts = name.split(".")
    return int(parts[2]) if parts[1] == "layers" else None


def few_layers(tensors):
    return {name: tensor for name, tensor in tensors.items()
            if (layer_of(name) or 0) < FEW_LAYERS}


def with_idle_layers(tensors, layers):
    """The same with further layers that add nothing: what they put out is 0."""
    out = dict(tensors)
    for extra in range(IDLE_LAYERS):
        for name, (dtype, shape, data) in tensors.items():
            if layer_of(name) == extra % layers:
                parts = name.split(".")
                parts[2] = str(layers + extra)
                last = parts[-2] in ("o_proj", "down_proj")
                out[".".join(parts)] = (
                    dtype, shape, bytes(len(data)) if last else data)
    return out


def random_weights(tensors, hidden_scale):
    """Tensors of these names whose axes are so many times as long, the
    vocabulary's apart, of random bfloat16 of either sign near 0.02."""
    block = b"".join(
        struct.pack("<H", 0x3ca0 + random.getrandbits(6) +
                    (random.getrandbits(1) << 15)) for _ in range(65521))
    out = {}
    for name, (dtype, shape, _) in tensors.items():
        embeds = name.endswith("embed_tokens.weight")
        shape = [size * hidden_scale for size in shape]
        if embeds:
            shape[0] //= hidden_scale
        size = 2
        for axis in shape:
            size *= axis
        ones = len(shape) == 1
        data = b"\x80\x3f" * (size // 2) if ones else (
            block * (size // len(block) + 1))[:size]
        out[name] = (dtype, shape, data)
    return out


def make_models(model, folder, roofline):
    def convert(source, name, *flags):
        if not (folder / name).exists():
            subprocess.run([roofline, "convert", "--hf-path", source,
                            "--mlx-path", folder / name, *flags],
                           check=True, stdout=subprocess.DEVNULL)
        return folder / name

    folder.mkdir(exist_ok=True)
    base = convert(model, "bf16", "-d", "--dtype", "bfloat16")
    if not (folder / "source").exists():
        (folder / "source").symlink_to(pathlib.Path(model).resolve())
    config = json.loads((base / "config.json").read_text())
    tensors = tensors_of(base)
    if not (folder / "few").exists():
        copy_folder(base, folder / "few", few_layers(tensors),
                    num_hidden_layers=FEW_LAYERS)
    if not (folder / "deep").exists():
        layers = config["num_hidden_layers"]
        copy_folder(base, folder / "deep", with_idle_layers(tensors, layers),
                    num_hidden_layers=layers + IDLE_LAYERS)
    if not (folder / "random").exists():
        sizes = {field: 2 * config[field] for field in (
            "hidden_size", "intermediate_size", "num_attention_heads",
            "num_key_value_heads")}
        random.seed(1)
        copy_folder(base, folder / "random", random_weights(tensors, 2), **sizes)
    convert(base, "q8", "-q", "--q-bits", "8")
    convert(base, "q4", "-q", "--q-bits", "4")
    convert(folder / "few", "few-q4", "-q", "--q-bits", "4")
    convert(folder / "random", "random-q4", "-q", "--q-bits", "4")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    bundled = speculative.bundled_model()
    parser.add_argument("--model", default=bundled)
    parser.add_argument("--folder", type=pathlib.Path,
                        default=pathlib.Path("/tmp/draft-pairs"))
    parser.add_argument("--roofline", default=speculative.PROGRAM)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=192)
    parser.add_argument("--prompts", default="story")
    parser.add_argument("--draws", default="greedy,drawn")
    parser.add_argument("--pairs", help="numbers from 1, as in 1,4; else all")
    options = parser.parse_args()
    if not options.model or not os.path.exists(options.roofline):
        parser.error("run `make build` first, or name --model and --roofline")
    make_models(options.model, options.folder, options.roofline)
    wanted = ([int(n) for n in options.pairs.split(",")] if options.pairs
              else range(1, len(PAIRS) + 1))
    cases = [(prompt, draw) for prompt in options.prompts.split(",")
             for draw in options.draws.split(",")]
    options.flags = ""
    print(f"{'model':9} {'draft':9} {'prompt':8} {'tokens':7} {'gain':>5} "
          f"{'spread':>12} {'of plain':>12} {'a step':>6} {'first token':>11} "
          "answer")
    for number in wanted:
        model, draft = PAIRS[number - 1]
        options.model = str(options.folder / model)
        ways = {"plain": [],
                "draft": ["--draft-model", str(options.folder / draft)]}
        found = speculative.run_rounds(options, cases, ways)
        for case in cases:
            plain, guessed = found[case, "plain"], found[case, "draft"]
            gains = [speculative.speed(a) / speculative.speed(b)
                     for a, b in zip(guessed, plain)]
            alone = [speculative.speed(a) for a in plain]
            noise = [one / statistics.median(alone) for one in alone]
            firsts = [a["stats"]["first_token_seconds"] /
                      b["stats"]["first_token_seconds"]
                      for a, b in zip(guessed, plain)]
            same = all(a["tokens"] == plain[0]["tokens"] for a in guessed)
            print(f"{model:9} {draft:9} {case[0]:8} {case[1]:7} "
                  f"{statistics.median(gains):5.2f} "
                  f"{f'{min(gains):.2f} to {max(gains):.2f}':>12} "
                  f"{f'{min(noise):.2f} to {max(noise):.2f}':>12} "
                  f"{guessed[0]['stats'].get('tokens_per_step', 1):6.2f} "
                  f"{f'{statistics.median(firsts):.2f} times':>11} "
                  f"{'same' if same else 'differs'}", flush=True)


if __name__ == "__main__":
    main()
