#!/usr/bin/env python3
"""Compares quantized copies of one model by one evaluator: ours of several
methods, mlx-lm's and llama.cpp's, each by size and by divergence from the
source. Times the plain methods of all three, interleaved.

  python3 bench/quantize_quality.py SOURCE [--llama-dir DIR]
      [--convert-script convert_hf_to_gguf.py] [--mlx-python PYTHON]
      [--tokens 4096] [--work DIR] [--json FILE] [--rounds 3]

SOURCE is a folder of float safetensors. --llama-dir holds llama-quantize;
--mlx-python is a Python that has mlx-lm, and torch and gguf for the script that
makes a GGUF file of the source. What is left out isn't compared.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOFLINE = ROOT / "build/release/roofline"

OURS = {
    "plain 4/64": [],
    "awq 4/64": ["--method", "awq"],
    "gptq 4/64": ["--method", "gptq"],
}


def run(command):
    start = time.monotonic()
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout, time.monotonic() - start


class Comparison:
    def __init__(self, options):
        self.options = options
        self.work = Path(options.work)
        self.work.mkdir(parents=True, exist_ok=True)
        self.rows = []

    def evaluate(self, name, model, seconds):
        out, _ = run(
            [ROOFLINE, "evaluate", model, "--reference", self.options.source,
             "--limit", self.options.tokens, "--json"]
        )
        found = json.loads(out)
        quality = found["quality"]
        self.rows.append(
            {
                "name": name,
                "bits_per_weight": found["size"]["bits_per_weight"],
                "bytes": found["size"]["bytes"],
                "kl": quality["kl"],
                "top1": quality["top1_agreement"],
                "perplexity": quality["perplexity"],
                "reference_perplexity": quality["reference_perplexity"],
                "seconds": seconds,
            }
        )
        self.tell(self.rows[-1])

    @staticmethod
    def tell(row):
        print(
            f"| {row['name']} | {row['bits_per_weight']:.3f} "
            f"| {row['kl']['mean']:.4f} ± {row['kl']['standard_error']:.4f} "
            f"| {row['kl']['p99']:.3f} | {100 * row['top1']:.1f} % "
            f"| {row['perplexity']:.2f} | {row['seconds']:.1f} s |",
            flush=True,
        )

    def ours(self, name, flags):
        target = self.work / name.replace(" ", "-").replace("/", "-")
        if not (self.options.keep and target.exists()):
            _, seconds = run(
                [ROOFLINE, "quantize", self.options.source, "--out", target,
                 "--force", "--quality-tokens", "0",
                 "--calibration-tokens", self.options.calibration_tokens, *flags]
            )
        else:
            seconds = 0.0
        self.evaluate(name, target, seconds)

    def float_gguf(self):
        target = self.work / "source-f32.gguf"
        if not target.exists():
            run([self.options.mlx_python, self.options.convert_script,
                 self.options.source, "--outtype", "f32", "--outfile", target])
        return target

    def llama(self, kind):
        source = self.float_gguf()
        target = self.work / f"{kind}.gguf"
        _, seconds = run(
            [Path(self.options.llama_dir) / "llama-quantize", source, target, kind,
             self.options.threads]
        )
        self.evaluate(f"llama.cpp {kind}", target, seconds)
        return self.rows[-1]["bits_per_weight"]

    def mlx_convert(self):
        target = self.work / "mlx-lm"
        run(["rm", "-rf", target])
        return target, run(
            [self.options.mlx_python, "-m", "mlx_lm", "convert", "--hf-path",
             self.options.source, "--mlx-path", target, "-q"]
        )[1]

    def speed(self):
        """Plain rounding by all three, interleaved; seconds of each round."""
        times = {"roofline": []}
        for _ in range(self.options.rounds):
            times["roofline"].append(
                run([ROOFLINE, "quantize", self.options.source, "--out",
                     self.work / "speed", "--force", "--quality-tokens", "0"])[1]
            )
            if self.options.mlx_python:
                times.setdefault("mlx-lm", []).append(self.mlx_convert()[1])
            if self.options.llama_dir:
                times.setdefault("llama.cpp Q4_1", []).append(
                    run([Path(self.options.llama_dir) / "llama-quantize",
                         self.float_gguf(), self.work / "speed.gguf", "Q4_1",
                         self.options.threads])[1]
                )
        for name, seconds in times.items():
            print(
                f"{name}: {statistics.median(seconds):.2f} s "
                f"({min(seconds):.2f} … {max(seconds):.2f})"
            )
        return times

    def all(self):
        print("| model | bits per weight | KL, nats a token | 99th percentile "
              "| same top token | perplexity | time |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name, flags in OURS.items():
            self.ours(name, flags)
        if self.options.mlx_python:
            target, seconds = self.mlx_convert()
            self.evaluate("mlx-lm 4/64", target, seconds)
        if self.options.llama_dir:
            bits = self.llama("Q4_K_M")
            # At the same size: rounded down, so never a bit more.
            target = int(bits * 1000) / 1000
            self.ours(
                f"gptq {target} bits", ["--method", "gptq", "--target-bpw", target]
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--llama-dir")
    parser.add_argument("--convert-script")
    parser.add_argument("--mlx-python")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--calibration-tokens", type=int, default=8192)
    parser.add_argument("--work", default="build/quantize_quality")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="reuse what is there")
    parser.add_argument("--speed", action="store_true", help="only time")
    parser.add_argument("--json")
    options = parser.parse_args()
    comparison = Comparison(options)
    times = comparison.speed() if options.speed else None
    if not options.speed:
        comparison.all()
    if options.json:
        Path(options.json).write_text(
            json.dumps({"rows": comparison.rows, "times": times}, indent=1)
        )


if __name__ == "__main__":
    main()
