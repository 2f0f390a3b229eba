"""Whether what `roofline optimize` chooses is at least as fast as the best of a
grid that was tried by hand, and never slower than the defaults.

    python3 bench/optimize_grid.py [--model MODEL] [--rounds 5] [--budget 120]

The grid is every combination of threads, instruction set and prefill step (and,
with --quant, format, of which only those are rivals that keep --min-quality, as
optimize itself measured it); it, the choice and the defaults run in interleaved rounds,
each in a process of its own, on the workload that optimize was asked for. Ends
with 1 when the choice is slower than the best of the grid or than the defaults
by more than chance explains. Only Python's standard library is used here.
"""

import argparse
import itertools
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run_json(*command):
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out)


def powers_of_two_down(cores):
    threads = [cores]
    while threads[-1] > 1:
        threads.append(threads[-1] // 2)
    return threads


def grid(options, sets):
    """{name: text of a settings file}"""
    points = {}
    for threads, isa, step, quant in itertools.product(
        powers_of_two_down(len(os.sched_getaffinity(0))),
        sets, options.steps, options.quant,
    ):
        text = f'threads = {threads}\nisa = "{isa}"\nprefill_step = {step}\n'
        if quant != "none":
            text += f'quant = "{quant}"\ngroup_size = 64\n'
        name = f"{threads} threads, {isa}, step {step}"
        points[name + (f", {quant}" if quant != "none" else "")] = text
    return points


def quality_of(found, quant):
    """The share that a format in groups of 64 keeps, as optimize measured it."""
    for candidate in found["candidates"]:
        if candidate["settings"] == f"{quant} (group 64)" and candidate["quality"]:
            return candidate["quality"]["score"]
    return None


def seconds(options, settings):
    """Of the workload with a settings file."""
    out = run_json(
        options.roofline, "bench", *(["--model", options.model] if options.model else []),
        "--settings", settings,
        "-p", str(options.prompt), "-n", str(options.tokens),
        "-d", f"0,{options.prompt}", "--rounds", "1", "--json",
    )
    speeds = {
        (figure["phase"], figure["depth"]): figure["tokens_per_second"]
        for figure in out["figures"]
    }
    return (options.prompt / speeds["prefill", 0]
            + options.tokens / speeds["decode", options.prompt])


def interval(first, second):
    """The 95 % interval of median(first) / median(second), by resampling."""
    draw = random.Random(1)
    again = lambda values: statistics.median(draw.choices(values, k=len(values)))
    ratios = sorted(again(first) / again(second) for _ in range(4000))
    return ratios[100], ratios[-101]


def measure(options, points, folder):
    times = {name: [] for name in points}
    for round_ in range(options.rounds):
        names = list(points)
        random.Random(round_).shuffle(names)
        for name in names:
            file = folder / "point.toml"
            file.write_text(points[name])
            times[name].append(seconds(options, file))
            print(f"round {round_ + 1}: {name}: {times[name][-1]:.2f} s", file=sys.stderr)
    return times


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--roofline", default=str(ROOT / "build/release/roofline"))
    parser.add_argument("--model", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=120)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--steps", type=lambda s: [int(n) for n in s.split(",")],
                        default=[128, 512])
    parser.add_argument("--quant", type=lambda s: s.split(","), default=["none"])
    parser.add_argument("--min-quality", default="0.95")
    return parser.parse_args()


def main():
    options = parse()
    sets = run_json(options.roofline, "version", "--json")
    best = sets["instruction_sets"]["in_use"]
    sets = {"amx": ["amx", "avx512"], "avx512": ["avx512", "avx2"], "avx2": ["avx2", "generic"]}.get(best, [best])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        chosen = folder / "best.toml"
        found = run_json(
            options.roofline, "optimize", *([options.model] if options.model else []),
            "-p", str(options.prompt), "-n", str(options.tokens),
            "--budget", str(options.budget), "--min-quality", options.min_quality,
            "--out", chosen, "--json",
        )
        print(f"optimize chose, in {found['used_seconds']:.0f} s: {found['choice']}")
        print(found["why"])
        points = {"the choice": chosen.read_text(), "defaults": ""}
        points |= grid(options, sets)
        times = measure(options, points, folder)
    for name in sorted(times, key=lambda name: statistics.median(times[name])):
        values = times[name]
        print(f"{name:32} {statistics.median(values):6.2f} s "
              f"({min(values):.2f} … {max(values):.2f})")
    # A format that loses more than was allowed is quicker and no rival.
    poor = []
    for quant in options.quant:
        kept = quality_of(found, quant)
        if kept is not None and kept < float(options.min_quality):
            poor.append(quant)
            print(f"{quant} keeps {kept:.3f} of the quality: not a rival")
    tried = [
        name for name in times
        if name not in ("the choice", "defaults") and name.split(", ")[-1] not in poor
    ]
    fastest = min(tried, key=lambda name: statistics.median(times[name]))
    slower = False
    for rival in [fastest, "defaults"]:
        low, high = interval(times["the choice"], times[rival])
        print(f"the choice takes {low:.2f} to {high:.2f} of the time of {rival} "
              "(95 % interval)")
        slower = slower or low > 1
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
