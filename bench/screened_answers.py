"""Whether answers over a screened head (docs/kernels.md) are those that the whole
head gives: with --logprobs all logits are made, and the tokens must be the same.
Tells how fast each was; exits with 1 where an answer differs.

    python3 bench/screened_answers.py --roofline build/release/roofline MODEL…

Only Python's standard library is used here.
"""

import argparse
import json
import statistics
import subprocess
import sys

PROMPTS = [
    "Explain how a bicycle stays upright.",
    "Write a short story about a lighthouse keeper."]
DRAWS = [
    ["--temp", "0"],
    ["--temp", "0.7"],
    ["--temp", "1.2"],
    ["--min-p", "0.05"],
    ["--min-p", "0.02", "--temp", "1.3", "--repeat-penalty", "1.1"],
    ["--presence-penalty", "0.4", "--temp", "0.9"],
    ["--top-k", "40", "--top-p", "0.9"]]


def answer(command):
    out = json.loads(subprocess.run(
        command, check=True, capture_output=True, text=True).stdout)
    return out["tokens"], out["stats"]["decode_tokens_per_second"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--roofline", default="build/release/roofline")
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    different = 0
    for model in options.models:
        for draw in DRAWS:
            gains = []
            for prompt in PROMPTS:
                command = [
                    options.roofline, "generate", "--model", model, prompt,
                    "-n", str(options.tokens), "--seed", str(options.seed),
                    "--json", *draw]
                screened, speed = answer(command)
                whole, whole_speed = answer([*command, "--logprobs", "1"])
                gains.append(speed / whole_speed)
                if screened != whole:
                    different += 1
                    print(f"different: {model}, {' '.join(draw)}, {prompt}")
            print(f"{model}, {' '.join(draw)}: {statistics.median(gains):.2f} "
                  "times as fast as with log-probabilities", flush=True)
    print(f"{different} answers differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
