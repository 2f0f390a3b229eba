"""Prompts of 512 and 4096 tokens through Roofline and OpenVINO GenAI in turn, on
the same cores: three runs of each at a time, so that what a neighbour takes is
taken from both. Prints medians, spread and their ratio.

    python3 bench/openvino_peer.py --model M.gguf [--cpus 0,1] [--turns 8]

Needs the packages openvino-genai and numpy; OpenVINO reads GGUF files of Q4_0
and Q8_0. Linux only: both are held to --cpus.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import time

import numpy
import openvino
import openvino_genai

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNS = 3  # of each, a turn


def roofline(options, tokens):
    out = subprocess.run(
        [options.roofline, "bench", "--model", options.model, "-p", str(tokens), "-n", "0",
         "--rounds", str(RUNS), "--threads", str(len(options.cpus)), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    return json.loads(out)["figures"][0]["samples"]


def peer(pipeline, config, tokens, run):
    # Another prompt each time: a known one would come from its cache.
    ids = ((numpy.arange(tokens) * 7919 + 13 + run) % 49000).reshape(1, -1).astype(numpy.int64)
    prompt = openvino_genai.TokenizedInputs(
        openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))
    start = time.perf_counter()
    pipeline.generate(prompt, config)
    return tokens / (time.perf_counter() - start)


def text(speeds):
    return f"{statistics.median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f})"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--roofline", default=ROOT / "build/release/roofline")
    parser.add_argument("--cpus", default="0,1",
                        type=lambda words: [int(word) for word in words.split(",")])
    parser.add_argument("--turns", type=int, default=8)
    options = parser.parse_args()
    os.sched_setaffinity(0, options.cpus)
    pipeline = openvino_genai.LLMPipeline(
        options.model, "CPU", INFERENCE_NUM_THREADS=len(options.cpus))
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = 1
    config.ignore_eos = True
    print("| prompt | Roofline tok/s | OpenVINO tok/s | ratio |\n| --- | --- | --- | --- |")
    for tokens in (512, 4096):
        peer(pipeline, config, tokens, 0)
        ours, theirs = [], []
        for turn in range(options.turns):
            ours += roofline(options, tokens)
            theirs += [peer(pipeline, config, tokens, RUNS * turn + run + 1)
                       for run in range(RUNS)]
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(f"| {tokens} | {text(ours)} | {text(theirs)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
