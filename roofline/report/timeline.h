// A trace as one HTML file with a timeline to zoom: spans on their threads,
// counters as stacked areas, and where the time went by name.
#pragma once

#include <string>
#include <string_view>

namespace roofline {

/// trace_json: Chrome's trace format, an array of events or an object with
/// traceEvents. Shown are complete events ("X": ts and dur in µs, name, cat,
/// tid, args), counters ("C": args of named values; bytes where the counter's
/// name says memory or bytes) and names of threads ("M").
/// The page loads nothing from outside. Throws UserError when trace_json is not
/// JSON.
std::string timeline_html(
    const std::string& title,
    const std::string& trace_json);

/// The page's script (timeline_script.cpp).
std::string_view timeline_script();

}  // namespace roofline
