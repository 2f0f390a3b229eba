#!/usr/bin/env python3
"""Each name of the standard library must come from a header that its file
includes, itself or through headers of ours: what another library's headers, or
another standard library's, happen to bring along is not to be relied on.
usage: check_includes.py     prints "FILE: std::NAME needs <HEADER>"; 1 if any"""

import functools
import pathlib
import re
import sys

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

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)
NAME = re.compile(r"\bstd::(\w+)")
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)


def find(name, of):
    """The file of ours that an include means; None for another's."""
    places = (ROOT, ROOT / "tests", ROOT / "bridge", of.parent)
    return next((p / name for p in places if (p / name).is_file()), None)


@functools.cache
def included(path):
    """The headers, not ours, that the file includes, through ours too."""
    out = set()
    for name in INCLUDE.findall(path.read_text()):
        own = find(name, path)
        out |= included(own) if own else {name} | BRINGS.get(name, set())
    return frozenset(out)


def main():
    faults = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".cpp", ".h"):
                continue
            code = NOT_CODE.sub(" ", path.read_text())
            used = {n: HEADER_OF[n] for n in NAME.findall(code) if n in HEADER_OF}
            for name, header in sorted(used.items()):
                if header not in included(path):
                    faults.append(
                        f"{path.relative_to(ROOT)}: std::{name} needs <{header}>")
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
