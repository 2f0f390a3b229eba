"""Predicted beside measured memory of training: writes a table of docs/memory.md.

    python3 bench/training_memory_grid.py build/release/roofline [--floats FOLDER]

Each point trains two steps in a fresh process (`roofline train --json`) on
samples that fill the batch, and asks `roofline memory --train` for the same. The
bundled model's weights are codes; --floats names a checkpoint of floats, which
QLoRA quantizes. Only Python's standard library is used here.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from memory_grid import machine

BEGIN, END = "<!-- training: begin -->", "<!-- training: end -->"
WORDS = "the quick brown fox jumps over the lazy dog near an old river bank "


def points(floats):
    """(model, method, batch, tokens, checkpointing)"""
    for model, methods in [("", ["lora", "full"]), (floats, ["lora", "qlora", "full"])]:
        if model is None:
            continue
        for method in methods:
            yield model, method, 1, 256, False
            yield model, method, 4, 512, False
            yield model, method, 4, 512, True


def run_json(command, limit):
    result = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=limit,
        env=os.environ | {"ROOFLINE_HISTORY": "off"},
    )
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip().splitlines()[-1])
    return json.loads(result.stdout)


def measure(options, point, folder):
    model, method, batch, tokens, checkpointing = point
    named = ["--model", model] if model else []
    predicted = run_json(
        [options.program, "memory", *([model] if model else []), "--device", "cpu",
         "--train", method, "--train-batch", batch, "--seq", tokens, "--json",
         *(["--checkpointing"] if checkpointing else [])], 60)["total_bytes"]
    trained = run_json(
        [options.program, "train", *named, "--data", folder / "train.jsonl",
         "--output", folder / "out", "--method", method, "--batch", batch,
         "--max-tokens", tokens, "--steps", 2, "--save-every", 0, "--json", "--quiet",
         *(["--checkpoint-layers", "on"] if checkpointing else [])], options.limit)
    return predicted, trained["peak_bytes"]


def row(point, predicted, measured):
    model, method, batch, tokens, checkpointing = point
    difference = predicted - measured
    within = abs(difference) <= max(0.05 * measured, 64e6)
    cells = [
        "bf16" if model else "Q4_1 (bundled)", method, f"{batch} × {tokens}",
        "yes" if checkpointing else "no",
        f"{predicted / 1e6:.0f}", f"{measured / 1e6:.0f}",
        f"{difference / 1e6:+.0f} MB ({100 * difference / measured:+.1f} %)",
        "yes" if within else "**no**",
    ]
    return within, "| " + " | ".join(cells) + " |"


def write(path, rows, within, skipped):
    lines = [
        f"SmolLM2-135M on {machine()}, two steps with AdamW, adapters of rank 8. "
        f"{within} of {len(rows)} points lie within 5 % or 64 MB, whichever is larger.",
        "",
        "| Weights | Method | Batch | Checkpointing | Predicted, MB | Measured, MB "
        "| Error | Within the bound |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | --- |",
        *rows,
    ]
    if skipped:
        lines += ["", "Not run: " + "; ".join(skipped) + "."]
    before, rest = path.read_text().split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--floats", help="a folder with 16-bit floats of the same model")
    parser.add_argument("--limit", type=int, default=300, help="seconds of a point")
    parser.add_argument(
        "--out", type=Path,
        default=Path(__file__).resolve().parents[1] / "docs" / "memory.md")
    options = parser.parse_args()
    rows, skipped, within = [], [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sample = json.dumps({"text": WORDS * 60})
        (folder / "train.jsonl").write_text((sample + "\n") * 16)
        for point in points(options.floats):
            label = f"{'bf16' if point[0] else 'bundled'} {' '.join(map(str, point[1:]))}"
            try:
                sound, text = row(point, *measure(options, point, folder))
            except (subprocess.TimeoutExpired, RuntimeError) as error:
                skipped.append(f"{label} ({error})")
                print(f"{label}: {error}", flush=True)
                continue
            within += sound
            rows.append(text)
            print(text, flush=True)
            write(options.out, rows, within, skipped)
    write(options.out, rows, within, skipped)
    return 0 if within == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
