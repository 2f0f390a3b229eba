// Writes safetensors and GGUF files for tests, right ones and wrong ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace roofline::testing {

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

inline std::string safetensors_file(
    const std::string& header,
    const std::string& data) {
  std::string out;
  put(out, static_cast<std::uint64_t>(header.size()));
  return out + header + data;
}

class SafetensorsBuilder {
 public:
  SafetensorsBuilder& add(
      const std::string& name,
      const std::string& dtype,
      const std::vector<std::int64_t>& shape,
      const std::string& bytes) {
    header_[name] = {
        {"dtype", dtype},
        {"shape", shape},
        {"data_offsets", {data_.size(), data_.size() + bytes.size()}}};
    data_ += bytes;
    return *this;
  }
  /// A float32 tensor of one value everywhere.
  SafetensorsBuilder& fill(
      const std::string& name,
      const std::vector<std::int64_t>& shape,
      float value) {
    std::int64_t count = 1;
    for (std::int64_t size : shape) {
      count *= size;
    }
    std::string bytes;
    for (std::int64_t i = 0; i < count; ++i) {
      put(bytes, value);
    }
    return add(name, "F32", shape, bytes);
  }
  std::string build() const { return safetensors_file(header_.dump(), data_); }

 private:
  nlohmann::ordered_json header_ = nlohmann::ordered_json::object();
  std::string data_;
};

/// GGUF's numbers for value types.
enum GgufKind : std::uint32_t {
  kU8 = 0,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
};

class GgufBuilder {
 public:
  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::int64_t claim_tensors = -1;  ///< instead of the right number
  std::int64_t claim_pairs = -1;
  std::uint64_t alignment = 32;

  static void put_text(std::string& out, std::string_view text) {
    put(out, static_cast<std::uint64_t>(text.size()));
    out += text;
  }
  GgufBuilder& raw(
      std::string_view key,
      std::uint32_t kind,
      const std::string& v) {
    put_text(pairs_, key);
    put(pairs_, kind);
    pairs_ += v;
    ++pair_count_;
    return *this;
  }
  GgufBuilder& text(std::string_view key, std::string_view value) {
    std::string v;
    put_text(v, value);
    return raw(key, kString, v);
  }
  GgufBuilder& u32(std::string_view key, std::uint32_t value) {
    std::string v;
    put(v, value);
    return raw(key, kU32, v);
  }
  GgufBuilder& f32(std::string_view key, float value) {
    std::string v;
    put(v, value);
    return raw(key, kF32, v);
  }
  GgufBuilder& texts(
      std::string_view key,
      const std::vector<std::string>& values) {
    std::string v = array_head(kString, values.size());
    for (const auto& value : values) {
      put_text(v, value);
    }
    return raw(key, kArray, v);
  }
  template <class T>
  GgufBuilder& numbers(
      std::string_view key,
      GgufKind kind,
      const std::vector<T>& values) {
    std::string v = array_head(kind, values.size());
    for (const T& value : values) {
      put(v, value);
    }
    return raw(key, kArray, v);
  }
  static std::string array_head(std::uint32_t kind, std::uint64_t count) {
    std::string v;
    put(v, kind);
    put(v, count);
    return v;
  }
  /// Lists a tensor at the next free offset and adds its bytes.
  GgufBuilder& tensor(
      std::string_view name,
      const std::vector<std::uint64_t>& shape,
      std::uint32_t type,
      const std::string& bytes) {
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    info(name, shape, type, data_.size());
    data_ += bytes;
    return *this;
  }
  /// Lists a tensor without adding bytes.
  GgufBuilder& info(
      std::string_view name,
      const std::vector<std::uint64_t>& shape,
      std::uint32_t type,
      std::uint64_t offset) {
    put_text(infos_, name);
    put(infos_, static_cast<std::uint32_t>(shape.size()));
    for (std::uint64_t size : shape) {
      put(infos_, size);
    }
    put(infos_, type);
    put(infos_, offset);
    ++tensor_count_;
    return *this;
  }
  std::string build() const {
    std::string out = magic;
    put(out, version);
    put(out, claim_tensors < 0 ? tensor_count_ : claim_tensors);
    put(out, claim_pairs < 0 ? pair_count_ : claim_pairs);
    out += pairs_ + infos_;
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data_;
  }

 private:
  std::string pairs_, infos_, data_;
  std::int64_t pair_count_ = 0, tensor_count_ = 0;
};

}  // namespace roofline::testing
