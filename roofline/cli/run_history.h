// `roofline memory --history`: earlier runs, predicted beside measured.
#pragma once

namespace roofline::cli {

void tell_history(bool json);

}  // namespace roofline::cli
