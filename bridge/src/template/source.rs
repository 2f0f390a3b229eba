//! Rewrites a template's source where jinja2 and minijinja read it differently;
//! line numbers stay.
//!
//! - `{% generation %}` blocks only mark text: they become a plain scope.
//! - A for loop over None fails; `library::iterated` sees to that.
//! - jinja2 looks `x.items` up as an attribute first, so that a dict's method
//!   hides a key of that name, and `x["items"]` as an item first. Both are the
//!   same lookup in minijinja, hence names that `values::Dict` tells apart.

use super::methods::DICT_METHODS;
use super::operators;

/// `x.items` becomes `x.__method_items`.
pub const METHOD_FIRST: &str = "__method_";
/// `x["items"]` becomes `x["__item_items"]`.
pub const ITEM_FIRST: &str = "__item_";

/// The filter put behind what a for loop runs over.
pub const ITERATED: &str = "__iterated";

pub fn rewrite(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut rest = source.as_str();
    let mut out = String::with_capacity(source.len());
    while let Some(at) = next_tag(rest) {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        rest = match &tag[..2] {
            "{#" => copy_through(tag, "#}", &mut out),
            _ if tag.starts_with("{%") && block_name(tag) == "raw" => copy_raw(tag, &mut out),
            _ => {
                let mut copied = String::new();
                let rest = match &tag[..2] {
                    "{{" => copy_expression(tag, "}}", &mut copied),
                    _ => copy_block(tag, &mut copied),
                };
                out.push_str(&operators::rewrite(&copied));
                rest
            }
        };
    }
    out.push_str(rest);
    out
}

fn next_tag(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len().saturating_sub(1))
        .find(|&at| bytes[at] == b'{' && matches!(bytes[at + 1], b'{' | b'%' | b'#'))
}

/// Copies up to and with `end`; returns what follows.
fn copy_through<'a>(text: &'a str, end: &str, out: &mut String) -> &'a str {
    let stop = text.find(end).map_or(text.len(), |at| at + end.len());
    out.push_str(&text[..stop]);
    &text[stop..]
}

/// The first word of a block tag: "if" of `{%- if x %}`.
fn block_name(tag: &str) -> &str {
    let inner = tag[2..].trim_start_matches(['-', '+']).trim_start();
    let end = inner
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .unwrap_or(inner.len());
    &inner[..end]
}

fn copy_raw<'a>(tag: &'a str, out: &mut String) -> &'a str {
    let mut from = 2;
    while let Some(at) = tag[from..].find("{%") {
        from += at;
        if block_name(&tag[from..]) == "endraw" {
            out.push_str(&tag[..from]);
            return copy_through(&tag[from..], "%}", out);
        }
        from += 2;
    }
    out.push_str(tag);
    ""
}

fn copy_block<'a>(tag: &'a str, out: &mut String) -> &'a str {
    let name = block_name(tag);
    let replacement = match name {
        "generation" => "with",
        "endgeneration" => "endwith",
        "for" => return copy_for(tag, out),
        _ => return copy_expression(tag, "%}", out),
    };
    let start = name.as_ptr() as usize - tag.as_ptr() as usize;
    out.push_str(&tag[..start]);
    out.push_str(replacement);
    copy_expression(&tag[start + name.len()..], "%}", out)
}

/// Puts the ITERATED filter behind the second part of `for x in list if test`.
fn copy_for<'a>(tag: &'a str, out: &mut String) -> &'a str {
    let mut inner = String::with_capacity(tag.len());
    let rest = copy_expression(tag, "%}", &mut inner);
    match iterated_range(&inner) {
        Some((start, end)) => {
            out.push_str(&inner[..start]);
            out.push_str(" (");
            out.push_str(&inner[start..end]);
            out.push_str(")|");
            out.push_str(ITERATED);
            out.push(' ');
            out.push_str(&inner[end..]);
        }
        None => out.push_str(&inner),
    }
    rest
}

/// Where the list of a for tag begins and ends.
fn iterated_range(tag: &str) -> Option<(usize, usize)> {
    let mut start = None;
    let mut depth = 0usize;
    let mut at = 2;
    while at < tag.len() {
        let rest = &tag[at..];
        let first = rest.chars().next()?;
        if matches!(first, '\'' | '"') {
            at += literal_length(rest);
            continue;
        }
        if first.is_ascii_alphanumeric() || first == '_' {
            let word = &rest[..word_length(rest)];
            match start {
                None if word == "in" && depth == 0 => start = Some(at + word.len()),
                Some(start) if depth == 0 && matches!(word, "if" | "recursive") => {
                    return Some((start, at));
                }
                _ => {}
            }
            at += word.len();
            continue;
        }
        if depth == 0 && ["%}", "-%}", "+%}"].iter().any(|end| rest.starts_with(end)) {
            return Some((start?, at));
        }
        match first {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += first.len_utf8();
    }
    None
}

/// The length of a string literal that `text` begins with.
pub fn literal_length(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (at, &byte) in text.as_bytes().iter().enumerate().skip(1) {
        if escaped {
            escaped = false;
        } else if byte == b'\\' {
            escaped = true;
        } else if byte == quote {
            return at + 1;
        }
    }
    text.len()
}

pub fn word_length(text: &str) -> usize {
    text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .unwrap_or(text.len())
}

/// Copies the inside of a tag up to and with `end`, with lookups rewritten.
fn copy_expression<'a>(tag: &'a str, end: &str, out: &mut String) -> &'a str {
    let mut rest = tag;
    let mut braces = 0usize;
    // The opening braces are no dict.
    if rest.starts_with("{{") || rest.starts_with("{%") {
        out.push_str(&rest[..2]);
        rest = &rest[2..];
    }
    while let Some(first) = rest.chars().next() {
        if braces == 0 && rest.starts_with(end) {
            out.push_str(end);
            return &rest[end.len()..];
        }
        let length = match first {
            '\'' | '"' => literal_length(rest),
            '.' => {
                rest = copy_attribute(rest, out);
                continue;
            }
            '[' => {
                rest = copy_subscript(rest, out);
                continue;
            }
            _ if first.is_ascii_alphanumeric() || first == '_' => word_length(rest),
            _ => first.len_utf8(),
        };
        match first {
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            _ => {}
        }
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    rest
}

/// `.name` that isn't called: marks it when dicts have a method of that name.
fn copy_attribute<'a>(text: &'a str, out: &mut String) -> &'a str {
    let spaces = text[1..].len() - text[1..].trim_start().len();
    let name_at = 1 + spaces;
    let name = &text[name_at..name_at + word_length(&text[name_at..])];
    let rest = &text[name_at + name.len()..];
    out.push_str(&text[..name_at]);
    if DICT_METHODS.contains(&name) && !rest.trim_start().starts_with('(') {
        out.push_str(METHOD_FIRST);
    }
    out.push_str(name);
    rest
}

/// `["name"]`: marks it when dicts have a method of that name.
fn copy_subscript<'a>(text: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let inner = &text[1..];
    let subscript = !out[..out.len() - 1]
        .trim_end()
        .ends_with(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ')' | ']' | '"' | '\'')));
    let literal = inner.trim_start();
    if !subscript || !literal.starts_with(['\'', '"']) {
        return inner;
    }
    let length = literal_length(literal);
    let after = &literal[length..];
    let name = literal.get(1..length - 1).unwrap_or("");
    if !DICT_METHODS.contains(&name) || !after.trim_start().starts_with(']') {
        return inner;
    }
    out.push('"');
    out.push_str(ITEM_FIRST);
    out.push_str(name);
    out.push('"');
    after
}
