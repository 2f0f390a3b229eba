//! The text and image crates behind a small C interface, declared in roofline_bridge.h.
//! Every exported function runs its body under `border::guard`: an error or a
//! panic becomes a status and a message, and nothing unwinds into C++.

mod border;
mod image;
mod template;
mod tokenizer;
