// Calls into the bridge: views of our strings, its buffers as std::string, its
// statuses as exceptions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "roofline_bridge.h"

namespace roofline {

inline rb_view view_of(std::string_view text) {
  return {text.data(), text.size()};
}

/// A buffer of the bridge, given back when this ends.
class BridgeBuffer {
 public:
  BridgeBuffer() = default;
  ~BridgeBuffer() { rb_buffer_free(buffer_); }
  BridgeBuffer(const BridgeBuffer&) = delete;
  BridgeBuffer& operator=(const BridgeBuffer&) = delete;

  rb_buffer* out() { return &buffer_; }
  std::string_view text() const { return {buffer_.data, buffer_.size}; }

 private:
  rb_buffer buffer_{nullptr, 0};
};

/// The three parts of the error that a failed call becomes.
struct CallContext {
  std::string_view what;    ///< e.g. "The tokenizer can't be read"
  std::string_view action;  ///< e.g. "Fetch tokenizer.json again"
};

/// Throws unless status is RB_OK: CheckpointError (RB_BROKEN), UserError
/// (RB_REFUSED) or BugError (RB_PANICKED), with the bridge's words.
void require_ok(
    std::int32_t status,
    const BridgeBuffer& error,
    const CallContext& context);

}  // namespace roofline
