//! Rewrites two operators that Python overloads and minijinja doesn't: `+` with
//! a text marked safe escapes the other side, and `%` after a text formats it.
//! They become filters of `library`, which also bound what `+` can pile up.

use super::source::{literal_length, word_length};

pub const ADD: &str = "__add";
pub const FORMAT: &str = "__format";

enum Node<'a> {
    Space(&'a str),
    Text(&'a str),
    Word(&'a str),
    Sign(&'a str),
    Group(&'a str, Vec<Node<'a>>, &'a str),
}

/// Rewrites one tag, delimiters included.
pub fn rewrite(tag: &str) -> String {
    let mut start = 2;
    let mut end = tag.len().saturating_sub(2);
    if tag.len() < 4 || !tag.is_char_boundary(end) {
        return tag.to_owned();
    }
    if tag[start..end].starts_with(['-', '+']) {
        start += 1;
    }
    if end > start && tag[start..end].ends_with(['-', '+']) {
        end -= 1;
    }
    if tag.starts_with("{%") {
        // The statement's own word is no part of an expression.
        let inner = tag[start..end].trim_start();
        start = end - inner.len() + word_length(inner);
    }
    let mut rest = &tag[start..end];
    let nodes = parse(&mut rest, None);
    if !rest.is_empty() {
        return tag.to_owned();
    }
    let mut out = tag[..start].to_owned();
    write_level(&nodes, &mut out);
    out.push_str(&tag[end..]);
    out
}

fn closing(open: char) -> Option<char> {
    match open {
        '(' => Some(')'),
        '[' => Some(']'),
        '{' => Some('}'),
        _ => None,
    }
}

const LONG_SIGNS: [&str; 6] = ["**", "//", "==", "!=", "<=", ">="];

/// Parses up to `end`, or up to what can't be a part of an expression.
fn parse<'a>(rest: &mut &'a str, end: Option<char>) -> Vec<Node<'a>> {
    let mut nodes = Vec::new();
    while let Some(first) = rest.chars().next() {
        if Some(first) == end || matches!(first, ')' | ']' | '}') {
            break;
        }
        let text = *rest;
        if let Some(close) = closing(first) {
            *rest = &text[1..];
            let inner = parse(rest, Some(close));
            let closed = rest.starts_with(close);
            let mark = &rest[..usize::from(closed)];
            *rest = &rest[usize::from(closed)..];
            nodes.push(Node::Group(&text[..1], inner, mark));
            continue;
        }
        let (length, make): (usize, fn(&'a str) -> Node<'a>) = match first {
            '\'' | '"' => (literal_length(text), Node::Text),
            _ if first.is_whitespace() => (text.len() - text.trim_start().len(), Node::Space),
            _ if first.is_ascii_alphanumeric() || first == '_' => (word_length(text), Node::Word),
            _ if LONG_SIGNS.iter().any(|sign| text.starts_with(sign)) => (2, Node::Sign),
            _ => (first.len_utf8(), Node::Sign),
        };
        nodes.push(make(&text[..length]));
        *rest = &text[length..];
    }
    nodes
}

const KEYWORDS: [&str; 9] = [
    "and",
    "or",
    "not",
    "if",
    "else",
    "elif",
    "in",
    "for",
    "recursive",
];

fn ends_segment(nodes: &[Node], at: usize) -> bool {
    match nodes[at] {
        Node::Sign(sign) => matches!(
            sign,
            "," | ":" | "=" | "==" | "!=" | "<" | "<=" | ">" | ">="
        ),
        Node::Word(word) if KEYWORDS.contains(&word) => {
            // `is not x` and `is in x` are one test.
            let mut before = nodes[..at].iter().rev().filter_map(|node| match node {
                Node::Space(_) => None,
                Node::Word(word) => Some(*word),
                _ => Some(""),
            });
            let last = before.next().unwrap_or("");
            let tested = last == "is" || (last == "not" && before.next() == Some("is"));
            !(tested && matches!(word, "not" | "in"))
        }
        _ => false,
    }
}

fn write_level(nodes: &[Node], out: &mut String) {
    let mut start = 0;
    for at in 0..=nodes.len() {
        if at == nodes.len() || ends_segment(nodes, at) {
            write_sum(&nodes[start..at], out);
            if at < nodes.len() {
                write_node(&nodes[at], out);
            }
            start = at + 1;
        }
    }
}

/// Whether a sign at `at` has an operand before it.
fn is_binary(nodes: &[Node], at: usize) -> bool {
    let before = nodes[..at]
        .iter()
        .rev()
        .find(|node| !matches!(node, Node::Space(_)));
    matches!(
        before,
        Some(Node::Text(_) | Node::Word(_) | Node::Group(..))
    )
}

fn binary_signs(nodes: &[Node], wanted: &[&str]) -> Vec<usize> {
    (0..nodes.len())
        .filter(|&at| match nodes[at] {
            Node::Sign(sign) => wanted.contains(&sign) && is_binary(nodes, at),
            _ => false,
        })
        .collect()
}

fn sign_at<'a>(nodes: &[Node<'a>], at: usize) -> &'a str {
    match nodes[at] {
        Node::Sign(sign) => sign,
        _ => "",
    }
}

fn write_sum(nodes: &[Node], out: &mut String) {
    let signs = binary_signs(nodes, &["+", "-"]);
    let rewritten = !signs.is_empty() && signs.iter().all(|&at| sign_at(nodes, at) == "+");
    let mut parts = Vec::new();
    let mut start = 0;
    for &at in signs.iter().chain([&nodes.len()]) {
        let mut part = String::new();
        write_product(&nodes[start..at], &mut part);
        parts.push(part);
        start = at + 1;
    }
    if !rewritten {
        out.push_str(&parts[0]);
        for (part, &at) in parts[1..].iter().zip(&signs) {
            out.push_str(sign_at(nodes, at));
            out.push_str(part);
        }
        return;
    }
    out.push_str(" ((");
    out.push_str(parts[0].trim());
    out.push(')');
    for part in &parts[1..] {
        out.push('|');
        out.push_str(ADD);
        out.push('(');
        out.push_str(part.trim());
        out.push(')');
    }
    out.push_str(") ");
}

fn write_product(nodes: &[Node], out: &mut String) {
    let signs = binary_signs(nodes, &["*", "/", "//", "%", "~"]);
    let first = nodes.iter().find(|node| !matches!(node, Node::Space(_)));
    let formats = matches!(signs.as_slice(), [at] if sign_at(nodes, *at) == "%")
        && matches!(first, Some(Node::Text(_)));
    if !formats {
        nodes.iter().for_each(|node| write_node(node, out));
        return;
    }
    let write_all = |nodes: &[Node]| {
        let mut part = String::new();
        nodes.iter().for_each(|node| write_node(node, &mut part));
        part
    };
    let (left, right) = (
        write_all(&nodes[..signs[0]]),
        write_all(&nodes[signs[0] + 1..]),
    );
    out.push_str(&format!(" (({})|{FORMAT}({})) ", left.trim(), right.trim()));
}

fn write_node(node: &Node, out: &mut String) {
    match node {
        Node::Space(text) | Node::Text(text) | Node::Word(text) | Node::Sign(text) => {
            out.push_str(text)
        }
        Node::Group(open, inner, close) => {
            out.push_str(open);
            write_level(inner, out);
            out.push_str(close);
        }
    }
}
