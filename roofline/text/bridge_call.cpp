#include "roofline/text/bridge_call.h"

#include "roofline/base/errors.h"

namespace roofline {

void require_ok(
    std::int32_t status,
    const BridgeBuffer& error,
    const CallContext& context) {
  switch (status) {
    case RB_OK:
      return;
    case RB_BROKEN:
      fail<CheckpointError>(context.what, error.text(), context.action);
    case RB_REFUSED:
      fail<UserError>(context.what, error.text(), context.action);
    default:
      fail<BugError>(
          context.what,
          error.text(),
          "Please report this with the file that caused it");
  }
}

}  // namespace roofline
