"""What the tracing hook of the fused step costs while nobody traces: the program
as it is beside one whose step was compiled without the hook, in interleaved
rounds on one thread: decode speed, and the processor's time, which a busy
machine disturbs less.

    python3 bench/trace_cost.py [--build build/release] [--rounds 15] [-n 256]

The second program is linked from the same build with the step's files compiled
again (-DROOFLINE_NO_OP_TIMES). Only Python's standard library is used here.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import shlex
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
STEP_FILES = ["step.cpp", "step_attention.cpp"]


def compile_without_hook(build, folder):
    """The objects of the step's files without the hook."""
    objects = []
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = pathlib.Path(entry["file"])
        if source.parent.name != "block" or source.name not in STEP_FILES:
            continue
        words = shlex.split(entry["command"])
        out = folder / (source.stem + "_without_hook.o")
        words[words.index("-o") + 1] = str(out)
        subprocess.run(
            [*words, "-DROOFLINE_NO_OP_TIMES", "-Wno-nonnull"], cwd=entry["directory"], check=True
        )
        objects.append(str(out))
    return objects


def link_without_hook(build, objects, out):
    command = subprocess.run(
        ["ninja", "-t", "commands", "-s", "roofline"],
        cwd=build, capture_output=True, text=True, check=True,
    ).stdout.strip().splitlines()[-1]
    # The first of two objects with the same names is the one that counts.
    command = command.replace(" -o roofline ", f" -o {out} {' '.join(objects)} ", 1)
    subprocess.run(command, shell=True, cwd=build, check=True)


def measure(program, tokens):
    """(decode speed in tokens a second, the processor's seconds of the run)"""
    command = [program, "bench", "-p", "0", "-n", str(tokens), "--rounds", "1",
               "--threads", "1", "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return json.loads(out)["figures"][0]["tokens_per_second"], used


def interval(ratios):
    """The median's 95 % interval, by resampling."""
    draw = random.Random(1)
    medians = sorted(
        statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(4000)
    )
    return medians[100], medians[-101]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build/release"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("-n", type=int, default=256, dest="tokens")
    options = parser.parse_args()
    build = pathlib.Path(options.build).resolve()
    other = build / "roofline_without_hook"
    objects = compile_without_hook(build, build)
    link_without_hook(build, objects, other)
    programs = {"with": str(build / "roofline"), "without": str(other)}
    runs = {name: [] for name in programs}
    for round_ in range(options.rounds):
        for name in sorted(programs, reverse=round_ % 2 == 1):
            runs[name].append(measure(programs[name], options.tokens))
    for path in [other, *map(pathlib.Path, objects)]:
        os.remove(path)
    for i, unit in enumerate(["tok/s", "s of the processor"]):
        values = {name: [run[i] for run in runs[name]] for name in runs}
        for name, each in values.items():
            print(f"{name:8} the hook: {statistics.median(each):7.2f} {unit} "
                  f"({min(each):.2f} … {max(each):.2f})")
        ratios = [a / b for a, b in zip(values["with"], values["without"])]
        low, high = interval(ratios)
        print(f"with over without, pair by pair: {statistics.median(ratios):.4f} "
              f"(95 % interval {low:.4f} … {high:.4f}), {len(ratios)} rounds")


if __name__ == "__main__":
    main()
