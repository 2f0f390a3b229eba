#!/usr/bin/env python3
"""Times plain 4-bit quantization of one model by three programs, interleaved:
roofline, mlx-lm's convert and llama-quantize, each from a file of bf16 to a
file of codes, the program's start included.

  python3 bench/quantize_speed.py SOURCE [--llama-dir DIR] [--mlx-python PYTHON]
      [--rounds 5] [--threads 2] [--work DIR] [--json FILE]

SOURCE is a folder of float safetensors. What is left out isn't timed. Roofline
makes its files durable before it ends; the others leave that to the system.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOFLINE = Path(os.environ.get("ROOFLINE", ROOT / "build/release/roofline"))


def run(command):
    start = time.monotonic()
    before = os.times()
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    after = os.times()
    used = (
        after.children_user + after.children_system
        - before.children_user - before.children_system
    )
    return time.monotonic() - start, used


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--llama-dir")
    parser.add_argument("--mlx-python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="2")
    parser.add_argument("--work", default="build/quantize_speed")
    parser.add_argument("--json")
    options = parser.parse_args()
    work = Path(options.work)
    work.mkdir(parents=True, exist_ok=True)
    source = work / "source"
    run([ROOFLINE, "convert", "--hf-path", options.source, "--mlx-path", source,
         "--dtype", "bfloat16", "--force"])
    out = work / "out"
    ways = {
        "roofline quantize, 4 bits": [
            ROOFLINE, "quantize", source, out, "--force", "--quality-tokens", "0",
            "--threads", options.threads,
        ],
    }
    if options.mlx_python:
        ways["mlx-lm convert -q"] = [
            options.mlx_python, "-m", "mlx_lm", "convert", "--hf-path", source,
            "--mlx-path", out, "-q",
        ]
    if options.llama_dir:
        gguf = work / "source.gguf"
        run([ROOFLINE, "convert", "--hf-path", source, "--gguf-path", gguf,
             "--type", "bf16", "--force"])
        for kind in ["Q4_0", "Q4_K_S"]:
            ways[f"llama-quantize {kind}"] = [
                Path(options.llama_dir) / "llama-quantize", gguf,
                work / "out.gguf", kind, options.threads,
            ]
    times = {name: [] for name in ways}
    for round_number in range(-1, options.rounds):  # the first warms up
        for name, command in ways.items():
            subprocess.run(["rm", "-rf", str(out)], check=True)
            taken = run(command)
            if round_number >= 0:
                times[name].append(taken)
    print("| program | median | least … most | processor time |")
    print("| --- | --- | --- | --- |")
    for name, taken in times.items():
        wall = [each[0] for each in taken]
        used = statistics.median(each[1] for each in taken)
        print(
            f"| {name} | {statistics.median(wall):.2f} s "
            f"| {min(wall):.2f} … {max(wall):.2f} s | {used:.2f} s |"
        )
    if options.json:
        Path(options.json).write_text(json.dumps(times, indent=1))


if __name__ == "__main__":
    main()
