#!/usr/bin/env python3
"""Teaches the bundled model a fixed output format, and measures whether it
learnt it: sentences in, one line of fields out.

    Mia bought 3 lamps in Oslo.   ->   name=Mia; count=3; item=lamps; city=Oslo

Makes the data (names, things and cities of the held-out sentences never occur in
training, where half of the words are made up, so that copying is learnt), asks the model before, trains, asks again, and writes the curve. Some
minutes on two cores. Standard library only.

    python3 scripts/finetune_demo.py [--folder FOLDER] [--held-out N]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
BINARY = os.environ.get("ROOFLINE_BINARY", str(SOURCE / "build/release/roofline"))

NAMES = """Ada Ben Clara David Emma Felix Greta Hugo Ida Jonas Karin Leo Maria Nils
Olga Paul Rosa Simon Tina Victor Wanda Yusuf Zoe Anton Berta Carl Doris Erik""".split()
ITEMS = """apples books candles doors eggs forks glasses hats jars keys lemons
mirrors nails onions pens rings shoes tables umbrellas vases watches boxes""".split()
CITIES = """Berlin Cairo Delhi Essen Fargo Geneva Hanoi Izmir Jena Kyoto Lima Malmo
Nice Osaka Paris Quito Rome Seoul Turin Ulm Vienna Warsaw York Zurich""".split()
HELD_NAMES = "Mia Otto Lena Peter Sara Tom Julia Max".split()
HELD_ITEMS = "lamps chairs spoons bottles coins ropes".split()
HELD_CITIES = "Oslo Madrid Dublin Athens Boston Bern".split()
PATTERNS = [
    "{name} bought {count} {item} in {city}.",
    "In {city}, {name} sold {count} {item}.",
    "{count} {item} were found by {name} in {city}.",
    "{name} took {count} {item} to {city}.",
    "There are {count} {item} that {name} left in {city}.",
]


SYLLABLES = "ba be di do fa ga hi jo ka le li ma mo na ni po ra re sa si ta to va wi za".split()


def made_up(dice):
    """A word that nobody knows: it can only be copied, not remembered."""
    return "".join(dice.choice(SYLLABLES) for _ in range(dice.randint(2, 4)))


def varied(dice, words, capital):
    """One of the words, or as often a made-up one."""
    if dice.random() < 0.5:
        return dice.choice(words)
    word = made_up(dice)
    return word.capitalize() if capital else word + "s"


def training_example(dice):
    return example(
        dice,
        [varied(dice, NAMES, True)],
        [varied(dice, ITEMS, False)],
        [varied(dice, CITIES, True)],
    )


def example(dice, names, items, cities):
    parts = {
        "name": dice.choice(names),
        "count": dice.randint(2, 99),
        "item": dice.choice(items),
        "city": dice.choice(cities),
    }
    question = dice.choice(PATTERNS).format(**parts)
    answer = "name={name}; count={count}; item={item}; city={city}".format(**parts)
    return question, answer


def chat(question, answer):
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def make_data(folder, held_out):
    dice = random.Random(1)
    folder.mkdir(parents=True, exist_ok=True)
    train = [training_example(dice) for _ in range(1200)]
    valid = [training_example(dice) for _ in range(16)]
    held = [
        example(dice, HELD_NAMES, HELD_ITEMS, HELD_CITIES) for _ in range(held_out)
    ]
    for name, examples in (("train", train), ("valid", valid)):
        lines = [json.dumps(chat(q, a)) for q, a in examples]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return held


def run(*arguments):
    done = subprocess.run(
        [BINARY, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout


def accuracy(held, *adapter):
    right = 0
    for question, answer in held:
        out = run("generate", question, "--temp", 0, "-n", 40, "--json", *adapter)
        right += json.loads(out)["text"].strip() == answer
    return right / len(held)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--folder", type=Path, default=Path("finetune-demo"))
    arguments.add_argument("--held-out", type=int, default=40)
    arguments.add_argument("--steps", type=int, default=100)
    given = arguments.parse_args()
    start = time.monotonic()
    held = make_data(given.folder / "data", given.held_out)
    print("One sentence and what is asked for:")
    print(f"  {held[0][0]}\n  {held[0][1]}", flush=True)
    before = accuracy(held)
    print(f"Before: {before:.0%} of {len(held)} held-out sentences", flush=True)
    adapter = given.folder / "adapter"
    curve = given.folder / "loss.svg"
    subprocess.run(
        [BINARY, "train", "--data", given.folder / "data", "--output", adapter]
        + ["--batch", "12", "--steps", str(given.steps), "--max-tokens", "128"]
        + ["--learning-rate", "1e-3", "--schedule", "cosine", "--warmup", "5"]
        + ["--evaluate-every", "25", "--plot", curve],
        check=True,
    )
    after = accuracy(held, "--adapter", adapter)
    minutes = (time.monotonic() - start) / 60
    print(f"After: {after:.0%} of {len(held)} held-out sentences")
    print(f"The curve is in {curve}. {minutes:.1f} minutes in all.")


if __name__ == "__main__":
    main()
