#include "roofline/weights/hub/http.h"

#include <algorithm>
#include <cctype>
#include <exception>
#include <memory>

#include <fmt/format.h>

#include "roofline/weights/hub/curl.h"

namespace roofline {

namespace {

constexpr long kConnectSeconds = 15;
/// A connection that gives nothing for so long is broken.
constexpr long kStallSeconds = 30;
constexpr int kMostRedirects = 8;

struct EasyDeleter {
  void operator()(CURL* handle) const { curl().easy_cleanup(handle); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl().slist_free_all(list); }
};
struct UrlDeleter {
  void operator()(CURLU* url) const { curl().url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, UrlDeleter>;

std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl().url_get(url, part, &text, flags) != CURLUE_OK) {
    return "";
  }
  std::string out = text;
  curl().free(text);
  return out;
}

/// Scheme, host and port: who gets to see a token.
std::string origin_of(const std::string& text) {
  const Url url(curl().url());
  curl().url_set(url.get(), CURLUPART_URL, text.c_str(), 0);
  return fmt::format(
      "{}://{}:{}",
      url_part(url.get(), CURLUPART_SCHEME),
      url_part(url.get(), CURLUPART_HOST),
      url_part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT));
}

std::string resolved(const std::string& base, const std::string& location) {
  const Url url(curl().url());
  curl().url_set(url.get(), CURLUPART_URL, base.c_str(), 0);
  curl().url_set(url.get(), CURLUPART_URL, location.c_str(), 0);
  return url_part(url.get(), CURLUPART_URL);
}

std::string trimmed(std::string_view text) {
  while (!text.empty() &&
         std::isspace(static_cast<unsigned char>(text.front())) != 0) {
    text.remove_prefix(1);
  }
  while (!text.empty() &&
         std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.remove_suffix(1);
  }
  return std::string(text);
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 ||
         status == 308;
}

/// One request without redirects; callbacks reach it through its address.
class Exchange {
 public:
  Exchange(HttpResponse& response, const HttpStart& start)
      : response_(response), start_(start) {}

  /// Throws what a callback threw.
  void run(const HttpRequest& request, const std::string& url, bool token) {
    curl_slist* list = nullptr;
    if (token) {
      list = curl().slist_append(
          list,
          ("Authorization: Bearer " + request.token).c_str());
    }
    const std::unique_ptr<curl_slist, ListDeleter> headers(list);
    const std::unique_ptr<CURL, EasyDeleter> owned(curl().easy_init());
    CURL* handle = owned.get();
    const auto set = [handle](CURLoption option, auto value) {
      curl().easy_setopt(handle, option, value);
    };
    char reason[CURL_ERROR_SIZE] = "";
    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_HTTPHEADER, headers.get());
    set(CURLOPT_USERAGENT, "roofline");
    set(CURLOPT_ERRORBUFFER, static_cast<char*>(reason));
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, kStallSeconds);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_NOBODY, request.head ? 1L : 0L);
    const std::string range = fmt::format("{}-", request.from);
    if (request.from > 0) {
      set(CURLOPT_RANGE, range.c_str());
    }
    set(CURLOPT_HEADERFUNCTION, &Exchange::on_header);
    set(CURLOPT_HEADERDATA, this);
    set(CURLOPT_WRITEFUNCTION, &Exchange::on_body);
    set(CURLOPT_WRITEDATA, this);
    waiting_ = request.while_waiting;
    set(CURLOPT_NOPROGRESS, 0L);
    set(CURLOPT_XFERINFOFUNCTION, &Exchange::on_progress);
    set(CURLOPT_XFERINFODATA, this);
    const CURLcode code = curl().easy_perform(handle);
    if (thrown_) {
      std::rethrow_exception(thrown_);
    }
    if (code != CURLE_OK) {
      response_.error = reason[0] != '\0' ? reason : curl().easy_strerror(code);
    }
  }

 private:
  static std::size_t on_header(
      char* text,
      std::size_t,
      std::size_t size,
      void* self) {
    static_cast<Exchange*>(self)->take_header({text, size});
    return size;
  }

  static std::size_t on_body(
      char* bytes,
      std::size_t,
      std::size_t size,
      void* self) {
    return static_cast<Exchange*>(self)->take_body({bytes, size}) ? size : 0;
  }

  static int on_progress(
      void* self,
      curl_off_t,
      curl_off_t,
      curl_off_t,
      curl_off_t) {
    return static_cast<Exchange*>(self)->wait() ? 0 : 1;
  }

  bool wait() {
    try {
      if (waiting_) {
        waiting_();
      }
      return true;
    } catch (...) {
      thrown_ = std::current_exception();
      return false;
    }
  }

  void take_header(std::string_view line) {
    if (line.starts_with("HTTP/")) {
      const std::size_t space = line.find(' ');
      response_.status =
          space == line.npos
              ? 0
              : std::atoi(std::string(line.substr(space + 1, 3)).c_str());
      // What is said of the file stands in the answer that redirects.
      std::erase_if(response_.headers, [](const auto& header) {
        return !header.first.starts_with("x-");
      });
      return;
    }
    const std::size_t colon = line.find(':');
    if (colon == line.npos) {
      return;
    }
    std::string name = trimmed(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(), [](char c) {
      return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    });
    const std::string value = trimmed(line.substr(colon + 1));
    if (name.starts_with("x-")) {
      response_.headers.emplace(name, value);
    } else {
      response_.headers[name] = value;
    }
  }

  bool take_body(std::string_view bytes) {
    if (is_redirect(response_.status)) {
      return true;
    }
    try {
      if (!sink_) {
        sink_ = start_(response_);
      }
      return sink_(bytes);
    } catch (...) {
      thrown_ = std::current_exception();
      return false;
    }
  }

  HttpResponse& response_;
  const HttpStart& start_;
  HttpSink sink_;
  std::function<void()> waiting_;
  std::exception_ptr thrown_;
};

}  // namespace

HttpResponse http_get(const HttpRequest& request, const HttpStart& start) {
  HttpResponse response;
  const std::string origin = origin_of(request.url);
  std::string url = request.url;
  for (int i = 0; i <= kMostRedirects; ++i) {
    const bool same = origin_of(url) == origin;
    Exchange(response, start).run(request, url, same && !request.token.empty());
    const std::string location = response.header("location");
    if (!response.complete() || !is_redirect(response.status) ||
        location.empty()) {
      return response;
    }
    const std::string next = resolved(url, location);
    if (request.head && origin_of(next) != origin) {
      return response;
    }
    url = next;
  }
  response.error = "too many redirects";
  return response;
}

HttpText http_text(const HttpRequest& request, std::size_t most) {
  HttpText out;
  out.response = http_get(request, [&](const HttpResponse&) {
    return [&](std::string_view bytes) {
      out.body += bytes;
      return out.body.size() <= most;
    };
  });
  return out;
}

}  // namespace roofline
