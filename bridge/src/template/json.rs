//! json.dumps as `transformers` gives it to templates.

use super::args::{self, Args};
use super::values;
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Error, ErrorKind, Value};
use std::fmt::Write;

const DEEPEST: usize = 200;

struct Style {
    ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sorted: bool,
}

fn error(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail.into())
}

fn indent_of(value: Option<Value>) -> Result<Option<String>, Error> {
    let Some(value) = value.filter(|value| !value.is_none()) else {
        return Ok(None);
    };
    if let Some(text) = value.as_str() {
        return Ok(Some(text.to_owned()));
    }
    let width = i64::try_from(value)?.clamp(0, 64);
    Ok(Some(" ".repeat(width as usize)))
}

/// tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)
pub fn tojson(value: &Value, args: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let [ascii, indent, separators, sorted] =
        Args::of(&args, named).read(["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let indent = indent_of(indent)?;
    let separators = separators.filter(|value| !value.is_none());
    let mut style = Style {
        ascii: args::truth(&ascii),
        item: if indent.is_some() { "," } else { ", " }.into(),
        indent,
        key: ": ".into(),
        sorted: args::truth(&sorted),
    };
    if let Some(pair) = separators {
        let parts: Vec<Value> = pair.try_iter()?.collect();
        let [item, key] = parts.as_slice() else {
            return Err(error("separators must be a pair"));
        };
        style.item = values::text(item);
        style.key = values::text(key);
    }
    let mut out = String::new();
    write(value, &style, 0, &mut out)?;
    Ok(out)
}

fn write(value: &Value, style: &Style, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > DEEPEST {
        return Err(error("the value is nested too deeply for JSON"));
    }
    values::require_length(out.len())?;
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&json_number(value)),
        ValueKind::String => write_text(value.as_str().unwrap_or(""), style.ascii, out),
        ValueKind::Seq => return write_list(value, style, depth, out),
        ValueKind::Iterable if value.len().is_some() => {
            return write_list(value, style, depth, out)
        }
        ValueKind::Map => return write_object(value, style, depth, out),
        kind => {
            return Err(error(format!(
                "a value of the kind {kind} is not JSON serializable"
            )))
        }
    }
    Ok(())
}

fn json_number(value: &Value) -> String {
    match values::number(value).as_str() {
        "nan" => "NaN".into(),
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        plain => plain.into(),
    }
}

fn new_line(style: &Style, depth: usize, out: &mut String) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(indent);
        }
    }
}

fn write_list(value: &Value, style: &Style, depth: usize, out: &mut String) -> Result<(), Error> {
    let mut empty = true;
    out.push('[');
    for item in value.try_iter()? {
        if !empty {
            out.push_str(&style.item);
        }
        empty = false;
        new_line(style, depth + 1, out);
        write(&item, style, depth + 1, out)?;
    }
    if !empty {
        new_line(style, depth, out);
    }
    out.push(']');
    Ok(())
}

fn key_text(key: &Value) -> Result<String, Error> {
    Ok(match key.kind() {
        ValueKind::String => key.as_str().unwrap_or("").to_owned(),
        ValueKind::None => "null".into(),
        ValueKind::Bool => if key.is_true() { "true" } else { "false" }.into(),
        ValueKind::Number => json_number(key),
        _ => return Err(error("keys must be str, int, float, bool or None")),
    })
}

fn write_object(value: &Value, style: &Style, depth: usize, out: &mut String) -> Result<(), Error> {
    let mut pairs = Vec::new();
    for key in value.try_iter()? {
        pairs.push((key_text(&key)?, value.get_item(&key)?));
    }
    if style.sorted {
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
    }
    out.push('{');
    for (index, (key, item)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push_str(&style.item);
        }
        new_line(style, depth + 1, out);
        write_text(key, style.ascii, out);
        out.push_str(&style.key);
        write(item, style, depth + 1, out)?;
    }
    if !pairs.is_empty() {
        new_line(style, depth, out);
    }
    out.push('}');
    Ok(())
}

fn write_text(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", letter as u32);
            }
            _ if ascii && letter > '~' => {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
}
