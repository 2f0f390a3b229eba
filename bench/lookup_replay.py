"""What ways to guess by lookup would gain: replays greedy answers of the bundled
model to summarising prompts (bench/prompts/summaries.txt, the later half held
out from what is chosen by them) and to the bench's own, with the rule of
decode/prompt_lookup.cpp and with an oracle that knows how many of its guesses
come true.

    python3 bench/lookup_replay.py [--tokens 192] [--costs avx2]

A gain is in steps weighed by what they cost (StepCosts there, AVX-512's unless
others are asked for), so it needs no clock. Change Rule to try another; only Python's standard library is used here.
"""

import argparse
import json
import subprocess
import tempfile

import speculative

TEMPLATE = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by "
    "Hugging Face<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
    "<|im_start|>assistant\n")
#: By instruction set: of 0 to 8 guesses, and of each further one.
STEP_COSTS = {
    "avx512": ([1.0, 1.12, 1.26, 1.5, 1.71, 1.95, 2.08, 2.21, 2.52], 0.31),
    "avx2": ([1.0, 1.37, 1.9, 2.3, 3.0, 3.5, 4.05, 4.6, 5.1], 0.46),
}
COSTS, FURTHER_COST = STEP_COSTS["avx512"]
USUAL = [0.3, 0.5, 0.62, 0.75, 0.75, 0.85, 0.92, 0.96]
DISPUTED = [0.12, 0.18, 0.3, 0.5, 0.5, 0.5, 0.6, 0.6]
LONGEST_GRAM, LONGEST_MATCH = 4, 8
FIRST_TRIES, MEMORY = 8, 1 - 1 / 64
MOST = 16


def cost(guesses):
    last = len(COSTS) - 1
    return COSTS[min(guesses, last)] + FURTHER_COST * max(0, guesses - last)


class Rule:
    """PromptLookup, line by line."""

    def __init__(self, prompt, answer):
        self.answer, self.prompt_size = answer, len(prompt)
        self.tokens, self.places = [], {}
        self.trust = [[[FIRST_TRIES, FIRST_TRIES * share] for share in kinds]
                      for kinds in zip(USUAL, DISPUTED)]
        for token in prompt:
            self.add(token)
        self.find()

    def add(self, token):
        for size in range(1, min(LONGEST_GRAM, len(self.tokens)) + 1):
            gram = tuple(self.tokens[-size:])
            place = self.places.get(gram)
            other = place is not None and self.tokens[place[0]] != token
            self.places[gram] = (len(self.tokens), other)
        self.tokens.append(token)

    def find(self):
        self.matched = 0
        for size in range(min(LONGEST_GRAM, len(self.tokens)), 0, -1):
            place = self.places.get(tuple(self.tokens[-size:]))
            if place:
                self.at, self.disputed = place
                self.matched = size
                break
        while (0 < self.matched < LONGEST_MATCH and self.at > self.matched and
               self.tokens[self.at - self.matched - 1] ==
               self.tokens[-self.matched - 1]):
            self.matched += 1

    def kind(self, further):
        matched = min(self.matched + further, LONGEST_MATCH)
        return self.trust[matched - 1][further == 0 and self.disputed]

    def push(self, token):
        hit = self.matched > 0 and self.tokens[self.at] == token
        if self.matched > 0:
            kind = self.kind(0)
            kind[0] = kind[0] * MEMORY + 1
            kind[1] = kind[1] * MEMORY + hit
        self.add(token)
        if not hit:
            self.find()
            return
        self.at += 1
        self.matched = min(self.matched + 1, LONGEST_MATCH)
        gram = tuple(self.tokens[-min(self.matched, LONGEST_GRAM):])
        place = self.places.get(gram)
        self.disputed = place is not None and place[1]

    def chain(self, count):
        out = []
        for at in range(self.at, self.at + count):
            out.append(self.tokens[at] if at < len(self.tokens)
                       else out[at - len(self.tokens)])
        return out

    def propose(self, most):
        best, best_rate, chance, expected = 0, 1, 1, 1
        for count in range(1, most + 1 if self.matched else 1):
            tries, hits = self.kind(count - 1)
            chance *= hits / tries
            expected += chance
            if expected / cost(count) > best_rate:
                best, best_rate = count, expected / cost(count)
        return self.chain(best) if best else []


class Oracle(Rule):
    """Proposes as many of the rule's guesses as come true and pay."""

    def propose(self, most):
        if not self.matched:
            return []
        come = self.answer[len(self.tokens) - self.prompt_size:]
        chain = self.chain(most)
        right = next((i for i, (a, b) in enumerate(zip(chain, come)) if a != b),
                     min(len(chain), len(come)))
        best = max(range(right + 1), key=lambda count: (1 + count) / cost(count))
        return chain[:best]


def replay(rule, prompt, answer):
    """(tokens, steps, what they cost in plain steps)"""
    lookup = rule(prompt, answer)
    lookup.push(answer[0])
    at, steps, spent = 1, 0, 0.0
    while at < len(answer):
        guesses = lookup.propose(min(MOST, len(answer) - at - 1))
        steps += 1
        spent += cost(len(guesses))
        right = 0
        while right < len(guesses) and guesses[right] == answer[at + right]:
            right += 1
        for token in answer[at:at + right + 1]:
            lookup.push(token)
        at += right + 1
    return len(answer) - 1, steps, spent


def ask(options, prompt):
    """(ids of the prompt, ids of the greedy answer)"""
    text = TEMPLATE.format(prompt.strip())
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        out = subprocess.run(
            [options.roofline, "generate", options.model, "--raw", "-f", file.name,
             "--json", "--ignore-eos", "--temp", "0", "-n", str(options.tokens)],
            stdout=subprocess.PIPE, check=True).stdout
    ids = subprocess.run(
        [options.roofline, "tokenize", options.model, "--ids", "--no-special"],
        input=text.encode(), stdout=subprocess.PIPE, check=True).stdout.split()
    answer = json.loads(out)
    assert len(ids) == answer["prompt_tokens"], "the template is another one"
    return [int(id_) for id_ in ids], answer["tokens"]


def main():
    global COSTS, FURTHER_COST
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=speculative.bundled_model())
    parser.add_argument("--roofline", default=speculative.PROGRAM)
    parser.add_argument("--tokens", type=int, default=192)
    parser.add_argument("--costs", choices=STEP_COSTS, default="avx512")
    options = parser.parse_args()
    COSTS, FURTHER_COST = STEP_COSTS[options.costs]
    texts = (speculative.PROMPTS / "summaries.txt").read_text().split("\n=====\n")
    half = len(texts) // 2
    groups = {"summaries": texts[:half], "held out": texts[half:]} | {
        name: [(speculative.PROMPTS / f"{name}.txt").read_text()]
        for name in ("summary", "edit", "story")}
    print(f"{'prompts':10} {'a step':>6} {'gain':>5} {'oracle':>6}")
    for name, prompts in groups.items():
        answers = [ask(options, prompt) for prompt in prompts]
        sums = {rule: [sum(column) for column in zip(
            *(replay(rule, *each) for each in answers))] for rule in (Rule, Oracle)}
        tokens, steps, spent = sums[Rule]
        print(f"{name:10} {tokens / steps:6.2f} {tokens / spent:5.2f} "
              f"{tokens / sums[Oracle][2]:6.2f}")


if __name__ == "__main__":
    main()
