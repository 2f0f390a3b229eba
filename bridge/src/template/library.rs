//! Filters, tests and functions that jinja2 or `transformers` have and minijinja
//! lacks or does otherwise.

use super::args::{self, Args};
use super::{clock, json, methods, objects, operators, values};
use minijinja::filters;
use minijinja::formatting::{format, FormatStyle};
use minijinja::value::{Kwargs, Rest, Tuple, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use std::borrow::Cow;

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail.into())
}

pub fn install(environment: &mut Environment<'static>) {
    install_functions(environment);
    install_tests(environment);
    install_text_filters(environment);
    install_number_filters(environment);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("join", join);
    environment.add_filter(super::source::ITERATED, iterated);
    install_sequence_filters(environment);
    install_operators(environment);
}

/// What a for loop runs over: minijinja would take None for an empty list.
fn iterated(value: Value) -> Result<Value, Error> {
    if value.is_none() {
        return Err(invalid("None is not iterable"));
    }
    // The characters of a text as a list, so that the loop knows its length.
    match value.as_str() {
        Some(text) => Ok(text.chars().map(Value::from).collect()),
        None => Ok(value),
    }
}

type Arguments = Rest<ValueOrKwargs>;

/// jinja2's are generators: always true, without a length, and no JSON.
fn install_sequence_filters(environment: &mut Environment<'static>) {
    environment.add_filter("map", |state: &mut State, value: Value, args: Arguments| {
        filters::map(state, value, args).map(objects::generator)
    });
    environment.add_filter(
        "select",
        |state: &mut State, value: Value, test: Option<String>, args: Arguments| {
            filters::select(state, value, test.map(Cow::Owned), args).map(objects::generator)
        },
    );
    environment.add_filter(
        "reject",
        |state: &mut State, value: Value, test: Option<String>, args: Arguments| {
            filters::reject(state, value, test.map(Cow::Owned), args).map(objects::generator)
        },
    );
    environment.add_filter(
        "selectattr",
        |state: &mut State, value: Value, name: String, test: Option<String>, args: Arguments| {
            let test = test.map(Cow::Owned);
            filters::selectattr(state, value, name.into(), test, args).map(objects::generator)
        },
    );
    environment.add_filter(
        "rejectattr",
        |state: &mut State, value: Value, name: String, test: Option<String>, args: Arguments| {
            let test = test.map(Cow::Owned);
            filters::rejectattr(state, value, name.into(), test, args).map(objects::generator)
        },
    );
    environment.add_filter("list", |value: Value| -> Result<Value, Error> {
        Ok(iterated(value)?.try_iter()?.collect())
    });
    environment.add_filter("default", default);
    environment.add_filter("d", default);
}

/// default(default_value="", boolean=False)
fn default(value: Value, args: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let [other, lax] = Args::of(&args, named).read(["default_value", "boolean"])?;
    if value.is_undefined() || (args::truth(&lax) && !value.is_true()) {
        return Ok(other.unwrap_or_else(|| Value::from("")));
    }
    Ok(value)
}

fn install_operators(environment: &mut Environment<'static>) {
    for name in ["e", "escape", "forceescape"] {
        environment.add_filter(name, |value: Value| match value.is_safe() {
            true => value,
            false => escaped(&values::text(&value)),
        });
    }
    environment.add_filter(operators::ADD, add);
    environment.add_filter(operators::FORMAT, |text: &str, given: Value| {
        let several: Vec<Value> = match given.is_tuple() {
            true => given.try_iter()?.collect(),
            false => vec![given],
        };
        format(FormatStyle::Printf, text, &several)
    });
}

fn escaped(text: &str) -> Value {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(letter),
        }
    }
    Value::from_safe_string(out)
}

/// Python's `+`, with text marked safe escaping the other side.
fn add(state: &State, left: Value, right: Value) -> Result<Value, Error> {
    if let (Some(a), Some(b)) = (left.as_str(), right.as_str()) {
        values::require_length(a.len() + b.len())?;
        state.consume_fuel((a.len() + b.len()) as u64 / 64)?;
        return Ok(match (left.is_safe(), right.is_safe()) {
            (false, false) => Value::from([a, b].concat()),
            (true, true) => Value::from_safe_string([a, b].concat()),
            (true, false) => Value::from_safe_string(a.to_owned() + &values::text(&escaped(b))),
            (false, true) => Value::from_safe_string(values::text(&escaped(a)) + b),
        });
    }
    let whole = |value: &Value| value.is_integer() || value.kind() == ValueKind::Bool;
    if whole(&left) && whole(&right) {
        let sum = i128::try_from(left)?.checked_add(i128::try_from(right)?);
        return sum
            .map(small)
            .ok_or_else(|| invalid("the sum is too large"));
    }
    if let (Some(a), Some(b)) = (as_number(&left), as_number(&right)) {
        return Ok(Value::from(a + b));
    }
    let is_list = |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    if is_list(&left) && is_list(&right) && left.is_tuple() == right.is_tuple() {
        if left.is_tuple() {
            let items: Vec<Value> = left.try_iter()?.chain(right.try_iter()?).collect();
            return Ok(Value::from(Tuple::from(items)));
        }
        let items: Vec<Value> = left.try_iter()?.chain(right.try_iter()?).collect();
        state.consume_fuel(items.len() as u64 / 4)?;
        return Ok(Value::from(items));
    }
    Err(invalid(format!(
        "can't add a {} and a {}",
        left.kind(),
        right.kind()
    )))
}

/// The error of raise_exception; its detail are the template's own words.
pub const RAISED: &str = "\u{1}raised\u{1}";

fn install_functions(environment: &mut Environment<'static>) {
    environment.add_function("raise_exception", |words: Value| -> Result<Value, Error> {
        Err(invalid(format!("{RAISED}{}", values::text(&words))))
    });
    environment.add_function("strftime_now", |format: &str| clock::format_now(format));
    environment.add_function("range", range);
    environment.add_function("dict", dict);
    environment.add_function("joiner", |separator: Option<String>| {
        objects::joiner(separator.unwrap_or_else(|| ", ".into()))
    });
    environment.add_function("cycler", |items: Rest<Value>| {
        objects::cycler(items.to_vec())
    });
}

/// dict(pairs or a dict, name=value, ...)
fn dict(first: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let mut fields = indexmap::IndexMap::new();
    let mut put = |key: &Value, item: Value| match key.as_str() {
        Some(key) => {
            fields.insert(key.to_owned(), item);
            Ok(())
        }
        None => Err(invalid("dict() needs texts for keys")),
    };
    if let Some(first) = first {
        let pairs = first.as_object().filter(|_| first.kind() == ValueKind::Map);
        match pairs.and_then(|object| object.try_iter_pairs()) {
            Some(pairs) => {
                for (key, item) in pairs {
                    put(&key, item)?;
                }
            }
            None => {
                for pair in first.try_iter()? {
                    put(&pair.get_item_by_index(0)?, pair.get_item_by_index(1)?)?;
                }
            }
        }
    }
    for name in named.args() {
        put(&Value::from(name), named.get::<Value>(name)?)?;
    }
    Ok(Value::from_object(values::Dict(fields)))
}

/// jinja2's sandbox allows no longer ones.
const LONGEST_RANGE: u64 = 100_000;

fn range(first: i64, second: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
    let (start, stop) = match second {
        Some(stop) => (first, stop),
        None => (0, first),
    };
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(invalid("range() arg 3 must not be zero"));
    }
    let span = if step > 0 {
        stop.saturating_sub(start)
    } else {
        start.saturating_sub(stop)
    };
    let count = u64::try_from(span)
        .unwrap_or(0)
        .div_ceil(step.unsigned_abs());
    if count > LONGEST_RANGE {
        return Err(invalid("range too big, maximum size for range is 100000"));
    }
    Ok((0..count as i64)
        .map(|i| Value::from(start + i * step))
        .collect())
}

fn install_tests(environment: &mut Environment<'static>) {
    let sized = |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Undefined
        ) || (value.kind() == ValueKind::Iterable && value.len().is_some())
    };
    environment.add_test("sequence", move |value: &Value| sized(value));
    environment.add_test("iterable", move |value: &Value| {
        sized(value) || value.kind() == ValueKind::Iterable
    });
    environment.add_test("number", |value: &Value| {
        matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
    });
    environment.add_test("integer", |value: &Value| {
        value.kind() == ValueKind::Number && value.is_integer()
    });
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    environment.add_test("escaped", |_: &Value| false);
}

fn install_text_filters(environment: &mut Environment<'static>) {
    environment.add_filter("string", |value: &Value| values::text(value));
    environment.add_filter("upper", |value: &Value| values::text(value).to_uppercase());
    environment.add_filter("lower", |value: &Value| values::text(value).to_lowercase());
    environment.add_filter("capitalize", |value: &Value| {
        methods::capitalize(&values::text(value))
    });
    environment.add_filter("trim", |value: &Value, chars: Option<&str>| {
        methods::strip_text(&values::text(value), chars, true, true).to_owned()
    });
    environment.add_filter("title", |value: &Value| title(&values::text(value)));
    environment.add_filter("wordcount", |value: &Value| {
        word_count(&values::text(value))
    });
    environment.add_filter("center", |value: &Value, width: Option<usize>| {
        center(&values::text(value), width.unwrap_or(80))
    });
    environment.add_filter("indent", indent);
    environment.add_filter("truncate", truncate);
    environment.add_filter("urlencode", |value: &Value| {
        url_encode(&values::text(value))
    });
}

/// jinja2's own rule: a capital after white space and some punctuation.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut start = true;
    for letter in text.chars() {
        if methods::is_space(letter) || matches!(letter, '-' | '(' | '{' | '[' | '<') {
            out.push(letter);
            start = true;
        } else if start {
            out.extend(letter.to_uppercase());
            start = false;
        } else {
            out.extend(letter.to_lowercase());
        }
    }
    out
}

fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~/".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn word_count(text: &str) -> usize {
    text.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
        .filter(|word| !word.is_empty())
        .count()
}

fn center(text: &str, width: usize) -> Result<String, Error> {
    if width > 1 << 20 {
        return Err(invalid("the width is too large"));
    }
    let missing = width.saturating_sub(text.chars().count());
    let left = missing / 2 + (missing & width & 1);
    Ok(format!(
        "{}{text}{}",
        " ".repeat(left),
        " ".repeat(missing - left)
    ))
}

/// indent(width=4, first=False, blank=False)
fn indent(value: &Value, args: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let [width, first, blank] = Args::of(&args, named).read(["width", "first", "blank"])?;
    let (first, blank) = (args::truth(&first), args::truth(&blank));
    let unit = match width {
        None => "    ".to_owned(),
        Some(width) => match width.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(i64::try_from(width)?.clamp(0, 1024) as usize),
        },
    };
    let text = values::text(value);
    let mut out = String::with_capacity(text.len());
    // A newline is added and taken away again, as in jinja2: a text that ends in
    // one keeps it.
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let wanted = if index == 0 {
            first
        } else {
            blank || !line.is_empty()
        };
        if wanted {
            out.push_str(&unit);
        }
        out.push_str(line);
        values::require_length(out.len())?;
    }
    Ok(out)
}

/// truncate(length=255, killwords=False, end="...", leeway=5)
fn truncate(value: &Value, args: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let [length, kill, end, leeway] =
        Args::of(&args, named).read(["length", "killwords", "end", "leeway"])?;
    let size = |given: &Option<Value>, default: i64| -> Result<usize, Error> {
        Ok(args::int(given)?.unwrap_or(default).max(0) as usize)
    };
    let (length, leeway) = (size(&length, 255)?, size(&leeway, 5)?);
    let kill = args::truth(&kill);
    let end = args::text(&end)?.unwrap_or("...");
    let text = values::text(value);
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= length + leeway {
        return Ok(text);
    }
    let keep = length.saturating_sub(end.chars().count());
    let kept: String = letters[..keep].iter().collect();
    if kill {
        return Ok(kept + end);
    }
    let words = kept
        .rsplit_once(' ')
        .map_or(kept.as_str(), |(words, _)| words);
    Ok(format!("{words}{end}"))
}

fn join(value: &Value, args: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let [separator, attribute] = Args::of(&args, named).read(["d", "attribute"])?;
    let attribute = attribute.filter(|value| !value.is_none());
    let separator = separator.map_or(String::new(), |text| values::text(&text));
    let mut out = String::new();
    for (index, item) in value.try_iter()?.enumerate() {
        if index > 0 {
            out.push_str(&separator);
        }
        let item = match &attribute {
            Some(path) => follow(&item, path)?,
            None => item,
        };
        out.push_str(&values::text(&item));
        values::require_length(out.len())?;
    }
    Ok(out)
}

/// A dotted path of attributes and indices.
fn follow(item: &Value, path: &Value) -> Result<Value, Error> {
    let Some(path) = path.as_str() else {
        return item.get_item(path);
    };
    let mut found = item.clone();
    for step in path.split('.') {
        found = match step.parse::<i64>() {
            Ok(index) => found.get_item(&Value::from(index))?,
            Err(_) => found.get_attr(step)?,
        };
    }
    Ok(found)
}

fn install_number_filters(environment: &mut Environment<'static>) {
    environment.add_filter("round", round);
    environment.add_filter("int", to_int);
    environment.add_filter("float", to_float);
}

/// round(precision=0, method="common"): always a float.
fn round(value: &Value, args: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let [precision, method] = Args::of(&args, named).read(["precision", "method"])?;
    let precision = args::int(&precision)?.unwrap_or(0).clamp(-300, 300) as i32;
    let method = args::text(&method)?.unwrap_or("common");
    let integer = value.is_integer();
    let number = as_number(value).ok_or_else(|| invalid("round needs a number"))?;
    let scale = 10f64.powi(precision);
    match method {
        // Python's round() keeps ints and rounds halves to even.
        "common" if integer && precision >= 0 => Ok(value.clone()),
        "common" if precision >= 0 => {
            let digits = format!("{number:.*}", precision as usize);
            Ok(Value::from(digits.parse::<f64>().unwrap_or(number)))
        }
        "common" => Ok(Value::from((number * scale).round_ties_even() / scale)),
        "ceil" => Ok(Value::from((number * scale).ceil() / scale)),
        "floor" => Ok(Value::from((number * scale).floor() / scale)),
        _ => Err(invalid("method must be common, ceil or floor")),
    }
}

fn as_number(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        _ => None,
    }
}

/// int(default=0, base=10)
fn to_int(value: &Value, args: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let [default, base] = Args::of(&args, named).read(["default", "base"])?;
    let default = default.unwrap_or_else(|| Value::from(0));
    let base = args::int(&base)?.unwrap_or(10).clamp(2, 36) as u32;
    if value.is_integer() {
        return Ok(value.clone());
    }
    if let Some(number) = as_number(value) {
        return Ok(match number.is_finite() {
            true => Value::from(number.trunc() as i128),
            false => default,
        });
    }
    let Some(text) = value.as_str() else {
        return Ok(default);
    };
    let text = text.trim().replace('_', "");
    if let Ok(number) = i128::from_str_radix(&text, base) {
        return Ok(small(number));
    }
    Ok(match text.parse::<f64>() {
        Ok(number) if number.is_finite() => small(number.trunc() as i128),
        _ => default,
    })
}

fn small(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::from(number), Value::from)
}

fn to_float(value: &Value, args: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let [default] = Args::of(&args, named).read(["default"])?;
    let default = default.unwrap_or_else(|| Value::from(0.0));
    if let Some(number) = as_number(value) {
        return Ok(Value::from(number));
    }
    Ok(value
        .as_str()
        .and_then(|text| text.trim().replace('_', "").parse::<f64>().ok())
        .map_or(default, Value::from))
}
