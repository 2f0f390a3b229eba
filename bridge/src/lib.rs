//! The text, image and event file crates behind a small C interface, declared in roofline_bridge.h.
//! Every exported function runs its body under `border::guard`: an error or a
//! panic becomes a status and a message, and nothing unwinds into C++.

mod border;
mod events;
mod image;
mod template;
mod tokenizer;
