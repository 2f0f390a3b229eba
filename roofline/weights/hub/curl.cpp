#include "roofline/weights/hub/curl.h"

#include <dlfcn.h>

#include <array>
#include <string>

#include "roofline/base/errors.h"

namespace roofline {

namespace {

/// Names of the library since its interface was last broken, in 2006.
#if defined(__APPLE__)
constexpr std::array kNames = {"libcurl.4.dylib", "/usr/lib/libcurl.4.dylib"};
#else
constexpr std::array kNames = {"libcurl.so.4", "libcurl-gnutls.so.4"};
#endif

[[noreturn]] void fail_missing(const std::string& why) {
  fail<UnsupportedError>(
      "Nothing can be downloaded",
      "libcurl can't be loaded: " + why,
      "Install it (apt install libcurl4, brew install curl)");
}

void* open_library() {
  std::string why;
  for (const char* name : kNames) {
    if (void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
      return library;
    }
    const char* error = ::dlerror();
    why = why.empty() && error != nullptr ? error : why;
  }
  fail_missing(why);
}

template <class F>
void find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(::dlsym(library, name));
  if (function == nullptr) {
    fail_missing(std::string("it has no ") + name);
  }
}

Curl load() {
  void* library = open_library();  // kept to the end of the process
  Curl out;
  find(library, "curl_global_init", out.global_init);
  find(library, "curl_easy_init", out.easy_init);
  find(library, "curl_easy_cleanup", out.easy_cleanup);
  find(library, "curl_easy_setopt", out.easy_setopt);
  find(library, "curl_easy_perform", out.easy_perform);
  find(library, "curl_easy_strerror", out.easy_strerror);
  find(library, "curl_slist_append", out.slist_append);
  find(library, "curl_slist_free_all", out.slist_free_all);
  find(library, "curl_url", out.url);
  find(library, "curl_url_cleanup", out.url_cleanup);
  find(library, "curl_url_get", out.url_get);
  find(library, "curl_url_set", out.url_set);
  find(library, "curl_free", out.free);
  if (out.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    fail_missing("it doesn't start");
  }
  return out;
}

}  // namespace

const Curl& curl() {
  static const Curl loaded = load();
  return loaded;
}

}  // namespace roofline
