"""Predicted beside measured memory of training: writes a table of docs/memory.md.

    python3 bench/training_memory_grid.py PROGRAM [--codes MODEL] [--floats FOLDER]

Each point trains two steps in a fresh process (`roofline train --json`) on
samples that fill the batch, and asks `roofline memory --train` for the same.
--codes names a quantized model (left out: the bundled one; "none": no such
points); --floats a folder of 16-bit floats, which is trained by all methods.
Points that were measured are kept in --results and aren't run again; their
predictions are PROGRAM's. --only
takes a part of a point's label ("qlora", "4 × 512"), --most-gb leaves out points
that are predicted to take more, and --jobs runs so many at once. --device gpu does the
same on a GPU, whose memory alone is counted then, and writes the table below that
of the CPU. Only Python's standard library is used here.
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from memory_grid import machine

BEGIN, END = "<!-- training{}: begin -->", "<!-- training{}: end -->"
# What is promised of a prediction, by device.
SHARES = {"cpu": 0.05, "gpu": 0.2}
WORDS = "the quick brown fox jumps over the lazy dog near an old river bank "
ALL = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
# batch, tokens, recompute layers, further settings
SHAPES = [
    (1, 256, False, {}),
    (1, 512, False, {}),
    (4, 512, False, {}),
    (4, 512, True, {}),
    (1, 2048, True, {}),
]
MORE = [
    (1, 512, False, {"rank": 64}),
    (1, 512, False, {"targets": ALL}),
    (1, 512, False, {"optimizer": "adamw8"}),
    (2, 512, False, {"layers": 4}),
]


def points(codes, floats):
    """(kind, model, method, shape)"""
    if codes != "none":
        for method in ("lora", "dora"):
            for shape in SHAPES + (MORE if method == "lora" else []):
                yield "codes", codes, method, shape
    if floats:
        for method in ("lora", "qlora", "dora", "full"):
            for shape in SHAPES + (MORE[2:3] if method == "full" else []):
                yield "floats", floats, method, shape


def label(point):
    kind, model, method, (batch, tokens, again, more) = point
    name = Path(model).name if model else "bundled"
    words = [f"{name} ({kind})", method, f"{batch} × {tokens}"]
    words += ["recomputed"] if again else []
    return ", ".join(words + [f"{key} {value}" for key, value in more.items()])


def run_json(command, limit):
    result = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=limit,
        env=os.environ | {"ROOFLINE_HISTORY": "off"},
    )
    if result.returncode != 0:
        raise RuntimeError((result.stderr.strip().splitlines() or ["it failed"])[-1])
    return json.loads(result.stdout)


def predict(options, point):
    _, model, method, (batch, tokens, again, more) = point
    flags = {"rank": "--rank", "targets": "--targets", "optimizer": "--optimizer",
             "layers": "--train-layers"}
    command = [options.program, "memory", *([model] if model else []), "--device", options.device,
               "--train", method, "--train-batch", batch, "--seq", tokens, "--json"]
    command += ["--checkpointing"] if again else []
    command += ["--precision", 32] if options.device == "gpu" else []
    for key, value in more.items():
        command += [flags[key], value]
    return run_json(command, 60)["total_bytes"]


def measure(options, point, data):
    _, model, method, (batch, tokens, again, more) = point
    with tempfile.TemporaryDirectory(dir=data.parent) as out:
        command = [options.program, "train", *(["--model", model] if model else []),
                   "--data", data, "--output", out, "--method", method,
                   "--batch", batch, "--max-tokens", tokens, "--steps", 2,
                   "--save-every", 0, "--json", "--quiet", "--device", options.device]
        command += ["--checkpoint-layers", "on"] if again else []
        command += ["--threads", options.threads] if options.threads else []
        for key, value in more.items():
            command += [f"--{key}", value]
        told = run_json(command, options.limit)
    return told["predicted_peak_bytes"], told["peak_bytes"]


def within(predicted, measured, device):
    return abs(predicted - measured) <= max(SHARES[device] * measured, 64e6)


def where(device):
    if device == "cpu":
        return machine()
    told = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
        capture_output=True, text=True, check=True)
    return told.stdout.splitlines()[0]


def row(point, predicted, measured, device):
    kind, model, method, (batch, tokens, again, more) = point
    difference = predicted - measured
    cells = [
        Path(model).name if model else "Q4_1 (bundled)", method, f"{batch} × {tokens}",
        "yes" if again else "no",
        ", ".join(f"{k} {'all' if v == ALL else v}" for k, v in more.items()),
        f"{predicted / 1e6:.0f}", f"{measured / 1e6:.0f}",
        f"{difference / 1e6:+.0f} MB ({100 * difference / measured:+.1f} %)",
        "yes" if within(predicted, measured, device) else "**no**",
    ]
    return "| " + " | ".join(cells) + " |"


def write(options, todo, results, skipped):
    path, device = options.out, options.device
    done = [p for p in todo if label(p) in results]
    good = sum(within(*results[label(p)], device) for p in done)
    lines = [
        f"On {where(device)}, two steps with AdamW, adapters of rank 8, unless told "
        f"otherwise. {good} of {len(done)} points lie within {100 * SHARES[device]:.0f} % "
        "or 64 MB, whichever is larger.",
        "",
        "| Model | Method | Batch | Recomputed | Settings | Predicted, MB | Measured, MB "
        "| Error | Within the bound |",
        "| --- | --- | ---: | --- | --- | ---: | ---: | --- | --- |",
        *(row(p, *results[label(p)], device) for p in done),
    ]
    if skipped:
        lines += ["", "Not run: " + "; ".join(skipped) + "."]
    begin, end = (mark.format("" if device == "cpu" else " " + device)
                  for mark in (BEGIN, END))
    before, rest = path.read_text().split(begin)
    after = rest.split(end)[1]
    path.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + after)
    return good == len(done)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--codes", default="", help="a quantized model; none: no points")
    parser.add_argument("--floats", help="a folder with 16-bit floats")
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--only", help="points whose label has this in it")
    parser.add_argument("--jobs", type=int, default=1, help="points at once")
    parser.add_argument("--threads", type=int, help="of each point")
    parser.add_argument("--most-gb", type=float, default=1e9)
    parser.add_argument("--limit", type=int, default=600, help="seconds of a point")
    parser.add_argument(
        "--results", type=Path, help="default: training_memory_DEVICE.json")
    parser.add_argument(
        "--out", type=Path,
        default=Path(__file__).resolve().parents[1] / "docs" / "memory.md")
    options = parser.parse_args()
    options.results = (
        options.results or Path(f"training_memory_{options.device}.json"))
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    todo = [p for p in points(options.codes, options.floats)
            if not options.only or options.only in label(p)]
    skipped = []
    for point in todo:  # what was measured stays; the prediction is PROGRAM's
        if label(point) in results:
            results[label(point)] = (predict(options, point), results[label(point)][1])

    def one(point, data):
        predicted = predict(options, point)
        if predicted > options.most_gb * 1e9:
            raise RuntimeError(f"would take {predicted / 1e9:.1f} GB")
        own, measured = measure(options, point, data)
        if abs(own - predicted) > 5e6:
            raise RuntimeError(
                f"train predicts {own / 1e6:.0f} MB and memory {predicted / 1e6:.0f} MB")
        return predicted, measured

    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "train.jsonl"
        data.write_text((json.dumps({"text": WORDS * 160}) + "\n") * 16)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            running = {
                pool.submit(one, p, data): p for p in todo if label(p) not in results}
            for future in concurrent.futures.as_completed(running):
                point = running[future]
                try:
                    results[label(point)] = future.result()
                except (subprocess.TimeoutExpired, RuntimeError) as error:
                    skipped.append(f"{label(point)} ({error})")
                    print(f"{label(point)}: {error}", flush=True)
                    continue
                print(row(point, *results[label(point)], options.device), flush=True)
                options.results.write_text(json.dumps(results, indent=1))
                write(options, todo, results, skipped)
    return 0 if write(options, todo, results, skipped) else 1


if __name__ == "__main__":
    sys.exit(main())
