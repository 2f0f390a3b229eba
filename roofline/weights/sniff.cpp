#include "roofline/weights/sniff.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace roofline {

namespace {

struct Signature {
  std::string_view start;  ///< lower case where it is text
  std::string_view phrase;
};

using namespace std::string_view_literals;

// What people really get instead of weights, most telling first.
constexpr Signature kSignatures[] = {
    {"gguf"sv, "a GGUF file"sv},
    {"version https://git-lfs"sv, "a Git LFS pointer, not the file itself"sv},
    {"<!doctype"sv, "a web page (HTML)"sv},
    {"<html"sv, "a web page (HTML)"sv},
    {"<?xml"sv, "an XML text, perhaps a server's error message"sv},
    {"pk\x03\x04"sv, "a zip archive (PyTorch's format)"sv},
    {"\x80\x02"sv, "a Python pickle (PyTorch's old format)"sv},
    {"\x80\x03"sv, "a Python pickle (PyTorch's old format)"sv},
    {"\x80\x04"sv, "a Python pickle (PyTorch's old format)"sv},
    {"\x1f\x8b"sv, "a gzip archive"sv},
    {"\x28\xb5\x2f\xfd"sv, "a zstd archive"sv},
    {"\xfd"
     "7zxz"sv,
     "an xz archive"sv},
    {"\x89hdf"sv, "an HDF5 file"sv},
    {"\x93numpy"sv, "a NumPy array file"sv},
    {"lmgg"sv, "an old GGML file, from before GGUF"sv},
    {"tjgg"sv, "an old GGJT file, from before GGUF"sv},
    {"fmgg"sv, "an old GGMF file, from before GGUF"sv},
    {"\x7f"
     "elf"sv,
     "a program"sv},
    {"entry not found"sv, "a server's error message"sv},
    {"access to model"sv, "a server's error message"sv},
    {"{"sv, "a JSON text"sv},
};

bool looks_like_safetensors(std::span<const std::byte> bytes) {
  std::uint64_t header = 0;
  if (bytes.size() < 10) {
    return false;
  }
  for (int i = 7; i >= 0; --i) {
    header = header << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  }
  return header <= bytes.size() - 8 && bytes[8] == std::byte{'{'};
}

}  // namespace

std::string describe_content(std::span<const std::byte> bytes) {
  if (looks_like_safetensors(bytes)) {
    return "a safetensors file";
  }
  const std::size_t size = std::min<std::size_t>(bytes.size(), 64);
  std::string start(reinterpret_cast<const char*>(bytes.data()), size);
  for (char& c : start) {
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  const std::string_view text = start;
  const std::size_t skip =
      std::min(text.find_first_not_of(" \t\r\n"), text.size());
  for (const Signature& signature : kSignatures) {
    if (text.substr(0, signature.start.size()) == signature.start ||
        text.substr(skip, signature.start.size()) == signature.start) {
      return std::string(signature.phrase);
    }
  }
  if (!bytes.empty() &&
      std::all_of(text.begin(), text.end(), [](char c) { return c == 0; })) {
    return "nothing but zeros, as a broken download leaves them";
  }
  return "";
}

}  // namespace roofline
