#!/usr/bin/env python3
"""What a cache in codes loses, takes and how fast it is: divergence from the same
model with a 16-bit cache, bytes at 4096 tokens, and decode speed beside 16 bits in
interleaved rounds.

    python3 bench/kv_cache.py [--model MODEL] [--tokens 4096] [--rounds 15]
        [--depths 512,4096] [--json FILE]

Only Python's standard library is used here.
"""

import argparse
import json
import pathlib
import subprocess
import sys

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
        "--limit", options.tokens, "--context", options.context, *flags)
    return found["quality"]


def cache_bytes(options, flags):
    found = ask(options, "memory", *options.model, "--context", BYTES_AT, *flags)
    return sum(p["bytes"] for p in found["parts"] if p["kind"] == "kv")


def speeds(options):
    """{(format, depth): tokens a second}; groups of 64."""
    model = ["--model", *options.model] if options.model else []
    found = ask(
        options, "bench", *model, "-p", 0, "-n", options.decode,
        "-d", options.depths, "--kv-bits", "16,8,4", "--rounds", options.rounds)
    return [
        (f["setup"], f["depth"], f["tokens_per_second"], f.get("spread"))
        for f in found["figures"]
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roofline", default=str(ROOT / "build/release/roofline"))
    parser.add_argument("--model", default="", help="default: the bundled one")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--decode", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--depths", default="512,4096")
    parser.add_argument("--json", help="write what was found")
    options = parser.parse_args()
    options.model = [options.model] if options.model else []
    options.reference = (
        options.model[0] if options.model
        else ask(options, "inspect")["path"])
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
    found = speeds(options)
    base = {depth: speed for setup, depth, speed, _ in found if "KV" not in setup
            or "KV 16" in setup}
    print("\n| cache (group 64) | depth | decode, tokens/s | of 16 bits |\n"
          "| --- | ---: | ---: | ---: |")
    for setup, depth, speed, _ in found:
        print(f"| {setup} | {depth} | {speed:.1f} | {speed / base[depth]:.0%} |")
    if options.json:
        pathlib.Path(options.json).write_text(
            json.dumps({"quality": rows, "speed": found}, indent=1))


if __name__ == "__main__":
    main()
