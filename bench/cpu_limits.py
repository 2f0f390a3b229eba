"""Where the CPU's step stands: Roofline beside llama.cpp on one GGUF in every
case that matters (decode, deep, wide, prefill, one thread), in interleaved
rounds of processes of their own; medians, spread and the share of the roof.

    python3 bench/cpu_limits.py --model M.gguf --llama-dir DIR [--rounds 5]
        [--peer-model Q4_0.gguf]   what llama.cpp runs, where its best is another
        [--cases decode,deep,…]    default: all
        [--json OUT.json]

DIR holds llama-bench and llama-batched-bench. Only Python's standard library
is used here.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent

# name: (phase, tokens, depth, batch, threads; None: all)
CASES = {
    "decode": ("decode", 64, 0, 1, None),
    "decode, 1 thread": ("decode", 64, 0, 1, 1),
    "deep": ("decode", 32, 4096, 1, None),
    "batch 16": ("decode", 32, 0, 16, None),
    "prefill 512": ("prefill", 512, 0, 1, None),
    "prefill 4096": ("prefill", 4096, 0, 1, None),
}


def output(command, **env):
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
        env={**os.environ, **env}).stdout.decode()


def roofline(options, case):
    """Tokens a second and the share of the roof, of what memory gave just then."""
    phase, tokens, depth, batch, threads = CASES[case]
    prompt, decode = (tokens, 0) if phase == "prefill" else (0, tokens)
    found = json.loads(output(
        [options.roofline, "bench", "--model", options.model, "--json",
         "-p", str(prompt), "-n", str(decode), "-d", str(depth), "-b", str(batch),
         "--threads", str(threads or options.threads), "--rounds", "1"]))
    figure = next(f for f in found["figures"] if f["phase"] == phase)
    return figure["tokens_per_second"], figure["share_of_roof_beside"]


def llama(options, case):
    phase, tokens, depth, batch, threads = CASES[case]
    threads = threads or options.threads
    model = options.peer_model or options.model
    path = {"LD_LIBRARY_PATH": str(options.llama_dir)}
    if batch > 1:
        rows = output(
            [options.llama_dir / "llama-batched-bench", "-m", model, "-npp", "16",
             "-ntg", str(tokens), "-npl", str(batch), "-t", str(threads),
             "-c", str(batch * (tokens + 32)), "--output-format", "jsonl"], **path)
        return json.loads(rows.strip().splitlines()[-1])["speed_tg"]
    prompt, decode = (tokens, 0) if phase == "prefill" else (0, tokens)
    rows = json.loads(output(
        [options.llama_dir / "llama-bench", "-m", model, "-o", "json", "-p",
         str(prompt), "-n", str(decode), "-d", str(depth), "-t", str(threads),
         "-r", "1"], **path))
    return rows[0]["avg_ts"]


def middle(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--peer-model")
    parser.add_argument("--roofline", default=ROOT / "build/release/roofline")
    parser.add_argument("--llama-dir", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    wanted = [name for name in CASES
              if any(name.startswith(c.strip()) for c in options.cases.split(","))]

    kept = {}
    print(f"| {pathlib.Path(options.model).name} | Roofline tok/s | of the roof "
          "| llama.cpp tok/s | ratio |\n| --- | --- | --- | --- | --- |")
    for case in wanted:
        ours, shares, theirs = [], [], []
        for round_ in range(options.rounds):
            speed, share = roofline(options, case)
            ours.append(speed)
            shares.append(share)
            if options.llama_dir:
                theirs.append(llama(options, case))
        kept[case] = {"roofline": ours, "share_of_roof": shares, "llama.cpp": theirs}
        peer = middle(theirs) if theirs else ""
        ratio = (f"{statistics.median(ours) / statistics.median(theirs):.2f}"
                 if theirs else "")
        print(f"| {case} | {middle(ours)} | {statistics.median(shares):.0%} "
              f"| {peer} | {ratio} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
