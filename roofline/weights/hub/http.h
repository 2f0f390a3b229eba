// One HTTP request over libcurl, body handed out as it comes. Redirects are
// followed, and a token is sent to the first host only. Broken connections are
// reported, not retried.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace roofline {

struct HttpRequest {
  std::string url;
  std::string token;       ///< "Authorization: Bearer …"; empty: none
  std::uint64_t from = 0;  ///< the first byte wanted
  bool head = false;       ///< headers only; redirects to other hosts are left
  /// Called about once a second at least; what it throws comes out.
  std::function<void()> while_waiting = nullptr;
};

struct HttpResponse {
  int status = 0;  ///< 0: no answer came
  /// Names in lower case, values without spaces around them. Of the last
  /// answer; "x-…" ones of the answers before, too.
  std::map<std::string, std::string> headers;
  std::string error;  ///< why no answer, or only a part of it, came

  bool complete() const { return status != 0 && error.empty(); }
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

/// Takes a piece of the body; false ends the request.
using HttpSink = std::function<bool(std::string_view)>;
/// Asked for the sink once the status and the headers of the last answer are
/// known.
using HttpStart = std::function<HttpSink(const HttpResponse&)>;

/// Throws UnsupportedError where libcurl isn't installed; what start or a sink
/// throws comes out.
HttpResponse http_get(const HttpRequest& request, const HttpStart& start);

/// The body as text, at most `most` bytes; more is an error.
struct HttpText {
  HttpResponse response;
  std::string body;
};
HttpText http_text(const HttpRequest& request, std::size_t most);

}  // namespace roofline
