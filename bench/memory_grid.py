#!/usr/bin/env python3
"""Predicted beside measured memory over a grid: writes the table of docs/memory.md.

    python3 bench/memory_grid.py build/release/roofline [--quick] [--minutes 20] [--resume]
        [--jobs N] [--graph]

Each point is `roofline memory --measure --json` in a fresh process: the bundled
model as it is stored, models of the catalogue with random weights. The last
prefill step and a decode step are computed; the cache before them is allocated
and filled with zeros (--measure-steps 1), which takes the same memory. --resume keeps the rows that the
table has and measures the others. --graph takes models that a CPU runs as a graph of
MLX's ops, among them small shapes of ten families (small_shapes.py), and writes a
table of its own.
"""

import argparse
import concurrent.futures
import json
import os
import platform
import queue
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from small_shapes import SMALL_SHAPES

MODELS = {
    "": "SmolLM2-135M, Q4_1 (bundled)",
    "smollm2-360m": "",
    "qwen3-0.6b": "",
    "gemma-3-1b": "",
    "llama-3.2-1b": "",
    "granite-3.1-2b": "",
    "olmo-2-1b": "",
    "llama-3.2-3b": "",
}
GRAPH_MODELS = {
    "gpt2": "",
    "lfm2-350m": "",
    "lfm2-700m": "",
    "gemma-3n-e2b": "",
    "mamba2-2.7b": "",
} | dict.fromkeys(SMALL_SHAPES, "")
FORMATS = ["int4", "int8", "bf16"]
CONTEXTS = [512, 2048, 4096, 8192]
BATCHES = [1, 4]
BEGIN, END = "<!-- grid: begin -->", "<!-- grid: end -->"
GRAPH_MARKS = "<!-- grid graph: begin -->", "<!-- grid graph: end -->"


def graph_points():
    for batch in BATCHES:
        for model in GRAPH_MODELS:
            if model not in SMALL_SHAPES:
                for form in FORMATS:
                    yield model, form, 512, batch
    for context, batch in [(2048, 4), (512, 4), (512, 1), (2048, 1), (8192, 1), (8192, 4)]:
        for model in SMALL_SHAPES:
            yield model, "int4", context, batch


def points(quick, graph):
    """Contexts outermost, so that a cut run has covered all models."""
    if graph:
        yield from graph_points()
        return
    contexts = CONTEXTS[:2] if quick else [2048, 512, 8192, 4096]
    for context in contexts:
        for batch in BATCHES[:1] if quick else BATCHES:
            for model in MODELS:
                for form in FORMATS if model else [""]:
                    yield model, form, context, batch


def run(options, point, limit, *more):
    program = options.program
    model, form, context, batch = point
    shape = options.shapes / model
    named = str(shape) if model in SMALL_SHAPES else model
    command = [program, "memory", *([named] if model else []), "--json"]
    command += ["--context", str(context), "--batch", str(batch), "--device", "cpu"]
    if form and form != "bf16":
        command += ["--quant", form]
    cores = options.slots.get()
    try:
        # The model's own constants, not what this machine's runs made of them.
        result = subprocess.run(
            command + list(more), capture_output=True, text=True, timeout=limit,
            env=os.environ | {"ROOFLINE_HISTORY": "off"},
            preexec_fn=lambda: hasattr(os, "sched_setaffinity")
            and os.sched_setaffinity(0, cores),
        )
    finally:
        options.slots.put(cores)
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip())
    return json.loads(result.stdout)


def measure(point, options):
    """(predicted, measured) in bytes, or the reason why not."""
    try:
        total = run(options, point, 60)["total_bytes"]
        if total > options.most_gb * 1e9:
            return f"needs {total / 1e9:.1f} GB"
        out = run(options, point, options.limit, "--measure", "--measure-steps", "1")
    except subprocess.TimeoutExpired:
        return f"takes over {options.limit} s"
    except RuntimeError as error:
        return str(error).splitlines()[0]
    peak = next(part for part in out["parts"] if part["part"] == "peak")
    return peak["predicted_bytes"], peak["measured_bytes"], out["device"]


def row(point, predicted, measured):
    model, form, context, batch = point
    difference = predicted - measured
    within = abs(difference) <= max(0.05 * measured, 64e6)
    cells = [
        MODELS[model] or model,
        form or "as stored",
        str(context),
        str(batch),
        f"{predicted / 1e6:.0f}",
        f"{measured / 1e6:.0f}",
        f"{difference / 1e6:+.0f} MB ({100 * difference / measured:+.1f} %)",
        "yes" if within else "**no**",
    ]
    return within, "| " + " | ".join(cells) + " |"


def kept_rows(path):
    """The table's rows by (model, form, context, batch), as row() wrote them."""
    kept = {}
    table = path.read_text().split(BEGIN)[1].split(END)[0]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 8 and cells[2].isdigit():
            model = "" if cells[0] == MODELS.get("") else cells[0]
            form = "" if cells[1] == "as stored" else cells[1]
            point = (model, form, int(cells[2]), int(cells[3]))
            kept[point] = float(cells[4]) * 1e6, float(cells[5]) * 1e6
    return kept


def machine():
    name = platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text()
        name = re.search(r"model name\s*: (.*)", text).group(1)
    except (OSError, AttributeError):
        pass
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"


def write(path, rows, within, skipped, device):
    head = "| Model | Weights | Context | Batch | Predicted, MB | Measured, MB | Error | Within the bound |"
    lines = [
        f"On {machine()}; {device}. {within} of {len(rows)} points lie within 5 % "
        "or 64 MB, whichever is larger.",
        "",
        head,
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
        *[text for _, text in sorted(rows)],
    ]
    if skipped:
        lines += ["", "Not run: " + "; ".join(skipped) + "."]
    old = path.read_text()
    before, rest = old.split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--quick", action="store_true", help="two contexts, batch 1")
    parser.add_argument("--graph", action="store_true", help="models that run as MLX's ops")
    parser.add_argument("--resume", action="store_true", help="keep the table's rows")
    parser.add_argument("--minutes", type=float, default=60, help="of the whole run")
    parser.add_argument("--limit", type=int, default=300, help="seconds of a point")
    parser.add_argument(
        "--jobs", type=int, default=1, help="points at once, on cores of their own")
    parser.add_argument("--most-gb", type=float, default=8, help="skip larger points")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).resolve().parents[1] / "docs" / "memory.md",
    )
    options = parser.parse_args()
    if options.graph:
        global MODELS, BEGIN, END
        MODELS, (BEGIN, END) = GRAPH_MODELS, GRAPH_MARKS
    end = time.monotonic() + 60 * options.minutes
    pins = hasattr(os, "sched_setaffinity")
    cores = sorted(os.sched_getaffinity(0)) if pins else list(range(os.cpu_count()))
    options.jobs = min(options.jobs, len(cores))
    each = max(1, len(cores) // options.jobs)
    options.slots = queue.Queue()
    for job in range(options.jobs):
        options.slots.put(cores[job * each:(job + 1) * each])
    shapes = tempfile.TemporaryDirectory()
    options.shapes = Path(shapes.name)
    for name, config in SMALL_SHAPES.items():
        (options.shapes / name).mkdir()
        (options.shapes / name / "config.json").write_text(json.dumps(config))
    rows, skipped, within, device = [], [], 0, "CPU"
    kept = kept_rows(options.out) if options.resume else {}
    if "" in MODELS:  # the first start packs the weights, which takes more
        run(options, ("", "", 16, 1), 120, "--measure")
    todo = list(points(options.quick, options.graph))

    def one(point):
        if point in kept:
            return kept[point]
        if time.monotonic() > end:
            return "no time"
        return measure(point, options)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(one, point): point for point in todo}
        for done, future in enumerate(concurrent.futures.as_completed(running), 1):
            point, got = running[future], future.result()
            label = "{} {} {} × {}".format(point[0] or "bundled", *point[1:])
            if isinstance(got, str):
                skipped.append(f"{label} ({got})")
                print(f"{done}/{len(todo)} {label}: {got}", flush=True)
                continue
            device = got[2] if len(got) > 2 else device
            sound, text = row(point, got[0], got[1])
            within += sound
            order = (list(MODELS).index(point[0]), FORMATS.index(point[1] or "int4"))
            rows.append(((order, point[2], point[3]), text))
            print(f"{done}/{len(todo)} {text}", flush=True)
            write(options.out, rows, within, skipped, device)
    write(options.out, rows, within, skipped, device)
    return 0 if within == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
