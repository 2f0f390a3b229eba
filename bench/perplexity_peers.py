#!/usr/bin/env python3
"""Perplexity beside llama.cpp's and transformers' on the same text with the same
settings, for one model.

  python3 bench/perplexity_peers.py FOLDER [--llama-dir DIR] [--transformers]
      [--text FILE] [--characters 6000] [--context 512] [--stride 256]
      [--work DIR] [--threads 2]

FOLDER: float safetensors. llama-perplexity reads them from a GGUF file of float32,
since with block types it rounds activations to 8 bits as well, which is no setting of
ours. transformers calculates in float32, windows and stride as in its guide to
perplexity. Needs torch and transformers for the latter. ROOFLINE names another program.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOFLINE = Path(os.environ.get("ROOFLINE", ROOT / "build/release/roofline"))


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def ours(options, text, *flags):
    done = subprocess.run(
        [ROOFLINE, "evaluate", options.model, "--text", text, "--context",
         str(options.context), "--threads", options.threads, "--json", *flags],
        capture_output=True, text=True,
    )
    if done.returncode != 0:
        sys.exit(done.stderr)
    quality = json.loads(done.stdout)["quality"]
    return quality["perplexity"], quality["perplexity_standard_error"]


def of_llama(options, text):
    gguf = options.work / "source.gguf"
    run(ROOFLINE, "convert", "--hf-path", options.model, "--gguf-path", gguf,
        "--type", "f32", "--force")
    said = run(Path(options.llama_dir) / "llama-perplexity", "-m", gguf, "-f", text,
               "-c", options.context, "-t", options.threads)
    found = re.search(r"Final estimate: PPL = ([\d.]+) \+/- ([\d.]+)", said)
    return float(found[1]), float(found[2])


def of_transformers(options, text):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(int(options.threads))
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    ids = tokenizer(Path(text).read_text(), return_tensors="pt").input_ids
    surprise, count, end_before = 0.0, 0, 0
    for begin in range(0, ids.shape[1], options.stride):
        end = min(begin + options.context, ids.shape[1])
        window = ids[:, begin:end]
        targets = window.clone()
        targets[:, : -(end - end_before)] = -100
        with torch.no_grad():
            loss = model(window, labels=targets).loss.item()
        counted = (targets[:, 1:] != -100).sum().item()
        surprise += loss * counted
        count += counted
        end_before = end
        if end == ids.shape[1]:
            break
    return math.exp(surprise / count), None


def row(name, theirs, mine, exact):
    def text(value):
        return f"{value[0]:.4f}" + (f" ± {value[1]:.4f}" if value[1] else "")

    far = [f"{100 * (each[0] / theirs[0] - 1):+.3f} %" for each in (mine, exact)]
    print(f"| {name} | {text(theirs)} | {text(mine)} ({far[0]}) "
          f"| {text(exact)} ({far[1]}) |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--llama-dir")
    parser.add_argument("--transformers", action="store_true")
    parser.add_argument("--text", type=Path,
                        default=ROOT / "AGENTS.md")
    parser.add_argument("--characters", type=int, default=6000)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--stride", type=int, default=256)
    parser.add_argument("--work", type=Path, default=Path("build/perplexity_peers"))
    parser.add_argument("--threads", default="2")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    text = options.work / "text.txt"
    text.write_text(options.text.read_text()[: options.characters])
    print("| settings of | theirs | ours | ours, --exact |\n| --- | --- | --- | --- |")
    if options.llama_dir:
        flags = ["--like", "llama.cpp"]
        row("llama.cpp", of_llama(options, text), ours(options, text, *flags),
            ours(options, text, *flags, "--exact"))
    if options.transformers:
        flags = ["--like", "transformers", "--stride", str(options.stride)]
        row("transformers", of_transformers(options, text),
            ours(options, text, *flags), ours(options, text, *flags, "--exact"))


if __name__ == "__main__":
    main()
