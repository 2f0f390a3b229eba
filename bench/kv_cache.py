#!/usr/bin/env python3
"""What a cache in codes loses, takes and how fast it is: divergence from the same
model with a 16-bit cache, bytes at 4096 tokens, and speed of decode and prompts
beside 16 bits in interleaved rounds.

    python3 bench/kv_cache.py [--model MODEL] [--tokens 4096] [--rounds 15]
        [--depths 512,4096] [--groups 64,32] [--only quality,speed,kinds]
        [--parts] [--isa avx2] [--exact] [--json FILE]

--parts: speed also of keys and values in different bits. --exact: divergence of
codes alone, without what steps of many tokens round besides.

kinds: divergence on tiny random models of every kind of attention, in the tests'
goldens; their keys and values are harder to round than those of trained models.

Only Python's standard library is used here.
"""

import argparse
import itertools
import json
import math
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

FORMATS = {
    "16": [],
    "8, group 64": ["--kv-bits", "8"],
    "8, group 32": ["--kv-bits", "8", "--kv-group-size", "32"],
    "keys 8, values 4, group 64": ["--k-bits", "8", "--v-bits", "4"],
    "keys 8, values 4, group 32": [
        "--k-bits", "8", "--v-bits", "4", "--kv-group-size", "32"],
    "4, group 64": ["--kv-bits", "4"],
    "4, group 32": ["--kv-bits", "4", "--kv-group-size", "32"],
    "4, group 32, first 4 in full": [
        "--kv-bits", "4", "--kv-group-size", "32", "--kv-keep-full", "4"],
}
BYTES_AT = "4096"


def ask(options, *arguments):
    command = [options.roofline, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def quality(options, flags):
    found = ask(
        options, "evaluate", *options.model, "--reference", options.reference,
        "--limit", options.tokens, "--context", options.context,
        *(["--exact"] if options.exact else []), *flags)
    return found["quality"]


def cache_bytes(options, flags):
    found = ask(options, "memory", *options.model, "--context", BYTES_AT, *flags)
    return sum(p["bytes"] for p in found["parts"] if p["kind"] == "kv")


def speeds(options, group, bits):
    """Figures of interleaved rounds: floats and codes."""
    model = ["--model", *options.model] if options.model else []
    quant = ["--quant", options.quant] if options.quant else []
    return ask(
        options, "bench", *model, *quant, "-p", options.prompt, "-n", options.decode,
        "-d", options.depths, *bits, "--kv-group-size", group,
        "--threads", options.threads, "--rounds", options.rounds)["figures"]


def print_speeds(options):
    print("\n| cache | depth | decode, tokens/s | of 16 bits | prompt, tokens/s "
          "| of 16 bits |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    all_figures = []
    alike = ["--kv-bits", "16,8,4"]
    mixed = [["--kv-bits", f"16,{keys}", "--v-bits", values]
             for keys, values in (("8", "4"), ("4", "8"), ("8", "16"))]
    ways = [alike, *mixed] if options.parts else [alike]
    for group, bits in itertools.product(options.groups.split(","), ways):
        found = speeds(options, group, bits)
        all_figures += found
        by_case = {(f["depth"], f["setup"], f["phase"]): f["tokens_per_second"]
                   for f in found}
        depths = dict.fromkeys(f["depth"] for f in found)
        setups = list(dict.fromkeys(f["setup"] for f in found))
        floats = next(s for s in setups if "KV 16 bits," in s)
        for depth in depths:
            for setup in setups:
                cells = []
                for phase in ("decode", "prefill"):
                    speed = by_case.get((depth, setup, phase))
                    cells += ["–", "–"] if speed is None else [
                        f"{speed:.1f}", f"{speed / by_case[depth, floats, phase]:.0%}"]
                name = re.sub(r", \d+ threads?$", "", setup.partition("KV ")[2])
                print(f"| {name} | {depth} | {' | '.join(cells)} |", flush=True)
    return all_figures


KINDS = {
    "full": "llama",
    "window": "mistral_window",
    "rotating, full between": "gemma3_text",
    "latent": "deepseek_v3",
    "sinks and windows": "gpt_oss",
    "keys shared by layers": "gemma3n_text",
}


def log_softmax(row):
    top = max(row)
    total = top + math.log(sum(math.exp(x - top) for x in row))
    return [x - total for x in row]


def golden_logits(options, folder, ids, flags):
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        (work / "ids.json").write_text(json.dumps(ids))
        out = work / "logits.safetensors"
        command = [options.roofline, "logits", folder, "--ids", work / "ids.json",
                   "--out", out, "--exact", *flags]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode != 0:
            return None
        data = out.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    vocab = json.loads(data[8:8 + length])["logits"]["shape"][2]
    values = struct.unpack(f"<{(len(data) - 8 - length) // 4}f", data[8 + length:])
    return [log_softmax(values[i:i + vocab]) for i in range(0, len(values), vocab)]


def print_kinds(options):
    ways = {name: flags for name, flags in FORMATS.items() if "group 32" in name}
    print("\n| attention | golden | " + " | ".join(ways) + " |\n| --- | --- |"
          + " ---: |" * len(ways))
    for kind, name in KINDS.items():
        folder = ROOT / "tests/goldens" / name
        config = json.loads((folder / "config.json").read_text())
        vocab = config.get("text_config", config)["vocab_size"]
        draw = random.Random(1)
        ids = [[draw.randrange(vocab) for _ in range(128)] for _ in range(2)]
        floats = golden_logits(options, folder, ids, [])
        cells = []
        for flags in ways.values():
            coded = golden_logits(options, folder, ids, flags)
            cells.append("refused" if coded is None else format(
                sum(math.exp(p) * (p - q) for a, b in zip(floats, coded)
                    for p, q in zip(a, b)) / len(floats), ".1e"))
        print(f"| {kind} | {name} | {' | '.join(cells)} |", flush=True)


def print_quality(options):
    floats = cache_bytes(options, [])
    rows = []
    print("| cache | bytes at 4096 | KL, nats a token | 99th percentile | "
          "same top token | perplexity |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, flags in FORMATS.items():
        taken = cache_bytes(options, flags)
        q = quality(options, flags)
        rows.append({"cache": name, "bytes": taken, "quality": q})
        kl = q["kl"]
        print(
            f"| {name} | {taken / 1e6:.1f} MB ({taken / floats:.0%}) | "
            f"{kl['mean']:.2g} ± {kl['standard_error']:.1g} | {kl['p99']:.2g} | "
            f"{q['top1_agreement']:.2%} | {q['perplexity']:.3f} |", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roofline", default=str(ROOT / "build/release/roofline"))
    parser.add_argument("--model", default="", help="default: the bundled one")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--decode", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--depths", default="512,4096")
    parser.add_argument("--groups", default="64")
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--quant", default="", help="of a model without weights")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="quality,speed")
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--isa", help="of generic, avx2, avx512, amx, neon, i8mm")
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--json", help="write what was found")
    options = parser.parse_args()
    if options.isa:
        os.environ["ROOFLINE_ISA"] = options.isa
    options.model = [options.model] if options.model else []
    options.reference = (
        options.model[0] if options.model
        else ask(options, "inspect")["path"])
    parts = options.only.split(",")
    rows = print_quality(options) if "quality" in parts else []
    found = print_speeds(options) if "speed" in parts else []
    if "kinds" in parts:
        print_kinds(options)
    if options.json:
        pathlib.Path(options.json).write_text(
            json.dumps({"quality": rows, "speed": found}, indent=1))


if __name__ == "__main__":
    main()
