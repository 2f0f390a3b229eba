"""Prints roofline/weights/iq_grids.cpp from the grids that the Python package
`gguf` holds. Needs gguf."""

from gguf import quants

GRIDS = [
    ("kIq2XxsGrid", quants.IQ2_XXS),
    ("kIq2XsGrid", quants.IQ2_XS),
    ("kIq2SGrid", quants.IQ2_S),
    ("kIq3XxsGrid", quants.IQ3_XXS),
    ("kIq3SGrid", quants.IQ3_S),
    ("kIq1SGrid", quants.IQ1_S),
]

print("// Written by scripts/make_iq_grids.py.")
print('#include "roofline/weights/iq_grids.h"\n')
print("namespace roofline::blocks {\n")
print("// clang-format off")
for name, kind in GRIDS:
    raw = bytes.fromhex(kind.grid_hex.decode())
    entries = [raw[i] | raw[i + 1] << 8 for i in range(0, len(raw), 2)]
    assert len(entries) == kind.grid_shape[0]
    print(f"const std::array<std::uint16_t, {len(entries)}> {name} = {{")
    for i in range(0, len(entries), 11):
        print(" " + "".join(f"{e}," for e in entries[i : i + 11]))
    print("};")
print("// clang-format on\n")
print("}  // namespace roofline::blocks")
