//! Values as Python has them: dicts and lists from JSON that print, look up and
//! compare like Python's, and str() and repr() of everything.

use super::methods;
use super::source::{ITEM_FIRST, METHOD_FIRST};
use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};
use serde_json::Value as Json;
use std::fmt::{self, Write};
use std::sync::Arc;

/// Deep enough for any schema, and far from the end of the stack.
const DEEPEST_REPR: usize = 100;

pub fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::from(value),
            (_, Some(value)) => Value::from(value),
            _ => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text),
        Json::Array(items) => Value::from_object(List(items.into_iter().map(from_json).collect())),
        Json::Object(fields) => Value::from_object(Dict(
            fields
                .into_iter()
                .map(|(key, value)| (key, from_json(value)))
                .collect(),
        )),
    }
}

/// A dict with text for keys, in the order of insertion.
#[derive(Debug)]
pub struct Dict(pub indexmap::IndexMap<String, Value>);

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if let Some(name) = key.strip_prefix(METHOD_FIRST) {
            return BoundMethod::of(self, name);
        }
        if let Some(name) = key.strip_prefix(ITEM_FIRST) {
            return self
                .0
                .get(name)
                .cloned()
                .or_else(|| BoundMethod::of(self, name));
        }
        self.0.get(key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|key| Value::from(key.as_str())).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.0.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr(&Value::from_dyn_object(self.clone())))
    }
}

#[derive(Debug)]
pub struct List(pub Vec<Value>);

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&repr(&Value::from_dyn_object(self.clone())))
    }
}

/// `x.items` without a call: truthy, callable, nothing else.
#[derive(Debug)]
struct BoundMethod {
    owner: Arc<Dict>,
    name: String,
}

impl BoundMethod {
    fn of(owner: &Arc<Dict>, name: &str) -> Option<Value> {
        // The sandbox hides what would change the dict.
        methods::READING_DICT_METHODS.contains(&name).then(|| {
            Value::from_object(BoundMethod {
                owner: owner.clone(),
                name: name.to_owned(),
            })
        })
    }
}

impl Object for BoundMethod {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let owner = Value::from_dyn_object(self.owner.clone());
        methods::call(state, &owner, &self.name, args)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<built-in method {} of dict object>", self.name)
    }
}

/// No text that a template makes may be longer, in bytes.
pub const LONGEST_TEXT: usize = 64 << 20;

/// Fails for what only a hostile template makes.
pub fn require_length(bytes: usize) -> Result<(), Error> {
    if bytes > LONGEST_TEXT {
        return Err(Error::new(
            ErrorKind::OutOfFuel,
            "the template makes a text of more than 64 MiB",
        ));
    }
    Ok(())
}

/// Python's str(), cut when it grows past LONGEST_TEXT.
pub fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_undefined() => String::new(),
        None => repr(value),
    }
}

/// Python's repr().
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(value, 0, &mut out);
    out
}

fn write_repr(value: &Value, depth: usize, out: &mut String) {
    if depth > DEEPEST_REPR {
        return out.push_str("...");
    }
    if out.len() > LONGEST_TEXT {
        return;
    }
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::String => quote(value.as_str().unwrap_or(""), out),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::Map => write_dict(value, depth, out),
        ValueKind::Seq | ValueKind::Iterable if value.len().is_some() => {
            write_sequence(value, depth, out)
        }
        _ => {
            let _ = write!(out, "{value}");
        }
    }
}

fn write_dict(value: &Value, depth: usize, out: &mut String) {
    let pairs = value.as_object().and_then(|object| object.try_iter_pairs());
    out.push('{');
    for (index, (key, item)) in pairs.into_iter().flatten().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_repr(&key, depth + 1, out);
        out.push_str(": ");
        write_repr(&item, depth + 1, out);
    }
    out.push('}');
}

fn write_sequence(value: &Value, depth: usize, out: &mut String) {
    let tuple = value.is_tuple();
    out.push(if tuple { '(' } else { '[' });
    let mut count = 0;
    for item in value.try_iter().into_iter().flatten() {
        if count > 0 {
            out.push_str(", ");
        }
        write_repr(&item, depth + 1, out);
        count += 1;
    }
    if tuple && count == 1 {
        out.push(',');
    }
    out.push(if tuple { ')' } else { ']' });
}

fn quote(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(mark);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if letter == mark => {
                out.push('\\');
                out.push(letter);
            }
            '\0'..='\x1f' | '\x7f'..='\u{a0}' | '\u{ad}' => {
                let _ = write!(out, "\\x{:02x}", letter as u32);
            }
            // Separators and invisible marks that Python doesn't print either.
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2000}'..='\u{200a}'
            | '\u{202f}'
            | '\u{205f}'
            | '\u{3000}'
            | '\u{1680}'
            | '\u{feff}'
            | '\u{e000}'..='\u{f8ff}' => {
                let _ = write!(out, "\\u{:04x}", letter as u32);
            }
            _ => out.push(letter),
        }
    }
    out.push(mark);
}

/// repr() of an int or float.
pub fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(number) => float(number),
        Err(_) => value.to_string(),
    }
}

/// Python writes the shortest digits that read back the same, with an exponent
/// below 1e-4 and from 1e16 on.
pub fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let mut plain = format!("{number}");
    if !plain.contains('.') {
        plain.push_str(".0");
    }
    plain
}
