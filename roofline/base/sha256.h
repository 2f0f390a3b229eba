// SHA-256 (FIPS 180-4) for cache keys and fingerprints. Not meant for speed or
// for secrets.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace roofline {

class Sha256 {
 public:
  Sha256& update(std::string_view bytes);
  /// The digest of all updates, 64 hex digits. The object is spent afterwards.
  std::string hex();

 private:
  void block(const unsigned char* bytes);

  std::array<std::uint32_t, 8> state_ = {
      0x6a09e667,
      0xbb67ae85,
      0x3c6ef372,
      0xa54ff53a,
      0x510e527f,
      0x9b05688c,
      0x1f83d9ab,
      0x5be0cd19};
  std::array<unsigned char, 64> pending_{};
  std::size_t pending_bytes_ = 0;
  std::uint64_t total_bytes_ = 0;
};

/// The digest of one string, 64 hex digits.
std::string sha256_hex(std::string_view bytes);

}  // namespace roofline
