#!/usr/bin/env python3
"""Each name of the standard library must come from a header that its file
includes, itself or through headers of ours: what another library's headers, or
another standard library's, happen to bring along is not to be relied on. Nor is
what other sources of a group that compiles as one include: libraries' names and
ours, types and functions of two words, need their headers too.
usage: check_includes.py     prints "FILE: NAME needs HEADER"; 1 if any"""

import collections
import functools
import pathlib
import re
import sys

import check_layers

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("roofline", "bridge", "tests", "bench")

# Only names that one header has.
HEADERS = {
    "algorithm": "all_of any_of none_of binary_search copy_n count_if equal fill "
                 "fill_n find_if find_if_not is_sorted lower_bound max_element "
                 "min_element minmax_element nth_element partial_sort "
                 "partition_point remove_if replace reverse rotate sort "
                 "stable_sort transform unique upper_bound clamp",
    "array": "array to_array",
    "atomic": "atomic atomic_flag atomic_ref memory_order_relaxed "
              "memory_order_acquire memory_order_release",
    "bit": "bit_cast popcount countr_zero countl_zero bit_width bit_ceil",
    "charconv": "from_chars to_chars",
    "chrono": "chrono",
    "condition_variable": "condition_variable",
    "filesystem": "filesystem",
    "fstream": "ifstream ofstream fstream",
    "functional": "function",
    "future": "future promise async",
    "iostream": "cout cerr cin",
    "list": "list",
    "map": "map multimap",
    "memory": "unique_ptr shared_ptr make_unique make_shared weak_ptr",
    "mutex": "mutex lock_guard unique_lock scoped_lock once_flag call_once",
    "numbers": "numbers",
    "numeric": "accumulate iota reduce inner_product partial_sum gcd",
    "optional": "optional nullopt make_optional",
    "random": "mt19937 mt19937_64 normal_distribution uniform_int_distribution "
              "uniform_real_distribution random_device",
    "regex": "regex",
    "set": "set multiset",
    "span": "span as_bytes as_writable_bytes",
    "sstream": "ostringstream istringstream stringstream",
    "string": "string to_string stoi stod",
    "string_view": "string_view",
    "thread": "thread this_thread",
    "unordered_map": "unordered_map",
    "unordered_set": "unordered_set",
    "variant": "variant holds_alternative visit get_if monostate",
    "vector": "vector",
}
HEADER_OF = {name: header for header, names in HEADERS.items() for name in names.split()}
# What a header promises of others.
BRINGS = {"string": {"string_view"}}

# Libraries' namespaces, and where their headers lie.
LIBRARIES = {"CLI": "CLI/", "fmt": "fmt/", "mx": "mlx/", "nlohmann": "nlohmann/"}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)
NAME = re.compile(r"\bstd::(\w+)")
LIBRARY = re.compile(r"(?<![\w:])(\w+)::(?=\w)")
NOT_CODE = re.compile(
    r'R"(\w*)\(.*?\)\1"|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)
# Ours, at a line's start: namespaces don't indent.
OWN_TYPE = re.compile(r"^(?:struct|class|enum class|enum|using) (\w+)(?=[^;()]*?[{=:])", re.M)
OWN_FUNCTION = re.compile(r"^(?:[\w:<>,&*]+ )+[&*]?(\w+_\w+)\(", re.M)
USED = re.compile(r"(?<![.\w>:])([A-Z]\w+\b|\w+_\w+(?=\())")
# What a file has of its own under such a name: types, functions, test suites.
DECLARED = re.compile(
    r"\b(?:struct|class|enum class|enum|using|typename) (\w+)"
    r"|(?<=[\w>&*])(?<!return)(?<!else) [&*]?(?:\w+::)?(\w+)\([^;]*?\)[^;{}]*[{;]"
    r"|^TEST(?:_F|_P)?\((\w+)", re.M)


def find(name, of):
    """The file of ours that an include means; None for another's."""
    places = (ROOT, ROOT / "tests", ROOT / "bridge", of.parent)
    return next((p / name for p in places if (p / name).is_file()), None)


@functools.cache
def code_of(path):
    return NOT_CODE.sub(" ", path.read_text())


@functools.cache
def reached(path):
    """What the file includes, through ours too: headers that aren't ours by
    name, ours and itself by path."""
    out = {path}
    for name in INCLUDE.findall(path.read_text()):
        own = find(name, path)
        out |= reached(own) if own else {name} | BRINGS.get(name, set())
    return frozenset(out)


def sources():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".cpp", ".h"):
                yield path


@functools.cache
def owners():
    """The headers that declare each of our names."""
    out = collections.defaultdict(set)
    for path in sources():
        if path.suffix == ".h":
            for name in OWN_TYPE.findall(code_of(path)) + OWN_FUNCTION.findall(code_of(path)):
                out[name].add(path)
    return out


def place(path):
    """The tree and the layer that a file belongs to."""
    tree, layer = path.relative_to(ROOT).parts[:2]
    return tree, check_layers.rank(layer)


def may_see(path, header):
    tree, layer = place(path)
    other_tree, other_layer = place(header)
    return other_tree in (tree, "roofline") and (
        layer is None or other_layer is None or other_layer <= layer)


def check_own(path):
    code = code_of(path)
    declared = {name for names in DECLARED.findall(code) for name in names}
    for name in sorted(set(USED.findall(code)) & owners().keys() - declared):
        headers = {h for h in owners()[name] if may_see(path, h)}
        if headers and not headers & reached(path):
            yield f"{name} needs {min(headers).relative_to(ROOT)}"


def check(path):
    code = code_of(path)
    for name in sorted(set(NAME.findall(code)) & HEADER_OF.keys()):
        if HEADER_OF[name] not in reached(path):
            yield f"std::{name} needs <{HEADER_OF[name]}>"
    # Headers of ours name some of a library's types ahead.
    libraries = set(LIBRARY.findall(code)) if path.suffix == ".cpp" else set()
    for name in sorted(libraries & LIBRARIES.keys()):
        if not any(str(h).startswith(LIBRARIES[name]) for h in reached(path)):
            yield f"{name}:: needs one of <{LIBRARIES[name]}>"
    # The kernels compile each by itself.
    if path.relative_to(ROOT).parts[1] != "kernels":
        yield from check_own(path)


def main():
    faults = [f"{p.relative_to(ROOT)}: {fault}" for p in sources() for fault in check(p)]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
