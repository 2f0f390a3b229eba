// Errors by audience, each in three parts: what, why, what to do. The library
// throws them; only the command line prints them and picks an exit code.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace roofline {

/// Base of all errors that Roofline throws on purpose. what() is one message.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The user asked for something impossible: an option, a prompt, a path.
struct UserError : Error {
  using Error::Error;
};

/// A file of weights, a config, a tokenizer or a template is broken.
struct CheckpointError : Error {
  using Error::Error;
};

/// The request is sound but this version or this machine can't do it.
struct UnsupportedError : Error {
  using Error::Error;
};

/// Roofline itself is wrong. Nothing the user does should reach it.
struct BugError : Error {
  using Error::Error;
};

/// Joins the three parts into one message: "what. why. Do this."
std::string message(
    std::string_view what,
    std::string_view why,
    std::string_view action);

/// Throws E with the three parts joined.
template <class E>
[[noreturn]] void fail(
    std::string_view what,
    std::string_view why,
    std::string_view action) {
  throw E(message(what, why, action));
}

}  // namespace roofline
