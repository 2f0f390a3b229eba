// libcurl, loaded when a request is made: it brings about thirty libraries with
// it, which would delay the start of every command by some milliseconds, and
// only downloads need it.
#pragma once

#include <curl/curl.h>

namespace roofline {

/// The functions of libcurl that are used here.
struct Curl {
  decltype(&curl_global_init) global_init = nullptr;
  decltype(&curl_easy_init) easy_init = nullptr;
  decltype(&curl_easy_cleanup) easy_cleanup = nullptr;
  CURLcode (*easy_setopt)(CURL*, CURLoption, ...) = nullptr;
  decltype(&curl_easy_perform) easy_perform = nullptr;
  decltype(&curl_easy_strerror) easy_strerror = nullptr;
  decltype(&curl_slist_append) slist_append = nullptr;
  decltype(&curl_slist_free_all) slist_free_all = nullptr;
  decltype(&curl_url) url = nullptr;
  decltype(&curl_url_cleanup) url_cleanup = nullptr;
  decltype(&curl_url_get) url_get = nullptr;
  decltype(&curl_url_set) url_set = nullptr;
  decltype(&curl_free) free = nullptr;
};

/// Loads and starts it at the first call. Throws UnsupportedError, which says
/// what is missing and how to get it.
const Curl& curl();

}  // namespace roofline
