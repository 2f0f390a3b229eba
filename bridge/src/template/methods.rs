//! Python's methods of str, dict and list.

use super::args::{self, Args};
use super::values;
use minijinja::value::{from_args, Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

pub const READING_DICT_METHODS: &[&str] = &["items", "keys", "values", "get", "copy", "fromkeys"];
/// With those that the sandbox forbids.
pub const DICT_METHODS: &[&str] = &[
    "items",
    "keys",
    "values",
    "get",
    "copy",
    "fromkeys",
    "update",
    "pop",
    "popitem",
    "clear",
    "setdefault",
];

type Outcome = Result<Value, Error>;

fn invalid(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail.into())
}

fn unknown() -> Error {
    Error::from(ErrorKind::UnknownMethod)
}

/// Python's str.isspace().
pub fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\x1c'..='\x1f').contains(&letter)
}

pub fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Outcome {
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().ok_or_else(unknown)?;
            text_method(state, text, method, args)
        }
        ValueKind::Map => dict_method(value, method, args),
        ValueKind::Seq | ValueKind::Iterable => list_method(value, method, args),
        _ => Err(unknown()),
    }
}

fn text_method(state: &mut State, text: &str, method: &str, args: &[Value]) -> Outcome {
    match method {
        "strip" | "lstrip" | "rstrip" => strip(text, method, args),
        "split" | "rsplit" => split(text, method == "rsplit", args),
        "splitlines" => split_lines(text, args),
        "partition" | "rpartition" => partition(text, method == "rpartition", args),
        "startswith" | "endswith" => affix(text, method == "endswith", args),
        "removeprefix" | "removesuffix" => remove_affix(text, method, args),
        "find" | "rfind" | "index" | "rindex" => find(text, method, args),
        "count" => count(text, args),
        "replace" => replace(state, text, args),
        "center" | "ljust" | "rjust" | "zfill" => pad(text, method, args),
        "join" => join(text, args),
        "expandtabs" | "encode" | "translate" => Err(unknown()),
        _ => plain_method(text, method, args)
            .unwrap_or_else(|| contrib(state, &Value::from(text), method, args)),
    }
}

fn contrib(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Outcome {
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}

/// Methods without arguments.
fn plain_method(text: &str, method: &str, args: &[Value]) -> Option<Outcome> {
    let every = |holds: fn(char) -> bool| !text.is_empty() && text.chars().all(holds);
    let value = match method {
        "upper" => Value::from(text.to_uppercase()),
        "lower" | "casefold" => Value::from(text.to_lowercase()),
        "title" => Value::from(title(text)),
        "capitalize" => Value::from(capitalize(text)),
        "swapcase" => Value::from(swap_case(text)),
        "isspace" => Value::from(every(is_space)),
        "isdigit" | "isdecimal" | "isnumeric" => Value::from(every(char::is_numeric)),
        "isalpha" => Value::from(every(char::is_alphabetic)),
        "isalnum" => Value::from(every(char::is_alphanumeric)),
        "isascii" => Value::from(text.is_ascii()),
        "islower" => Value::from(
            text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase),
        ),
        "isupper" => Value::from(
            text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase),
        ),
        _ => return None,
    };
    Some(from_args::<()>(args).map(|()| value))
}

fn swap_case(text: &str) -> String {
    text.chars()
        .map(|letter| match letter.is_uppercase() {
            true => letter.to_lowercase().collect::<String>(),
            false => letter.to_uppercase().collect(),
        })
        .collect()
}

/// A capital wherever a run of letters begins.
pub fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if inside {
            out.extend(letter.to_lowercase());
        } else {
            out.extend(letter.to_uppercase());
        }
        inside = letter.is_lowercase() || letter.is_uppercase();
    }
    out
}

pub fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    first.to_uppercase().collect::<String>() + &letters.as_str().to_lowercase()
}

pub fn strip_text<'a>(text: &'a str, chars: Option<&str>, start: bool, end: bool) -> &'a str {
    let cut = |letter: char| match chars {
        Some(chars) => chars.contains(letter),
        None => is_space(letter),
    };
    let text = if start {
        text.trim_start_matches(cut)
    } else {
        text
    };
    if end {
        text.trim_end_matches(cut)
    } else {
        text
    }
}

fn strip(text: &str, method: &str, args: &[Value]) -> Outcome {
    let [chars] = Args::new(args).read(["chars"])?;
    let kept = strip_text(
        text,
        args::text(&chars)?,
        method != "rstrip",
        method != "lstrip",
    );
    Ok(Value::from(kept))
}

fn list(parts: Vec<&str>) -> Value {
    parts.into_iter().map(Value::from).collect()
}

fn split(text: &str, from_right: bool, args: &[Value]) -> Outcome {
    let [separator, most] = Args::new(args).read(["sep", "maxsplit"])?;
    let most = args::int(&most)?.unwrap_or(-1);
    let most = usize::try_from(most).unwrap_or(usize::MAX - 1);
    let Some(separator) = args::text(&separator)? else {
        return Ok(list(split_spaces(text, from_right, most)));
    };
    if separator.is_empty() {
        return Err(invalid("empty separator"));
    }
    Ok(list(if from_right {
        let mut parts: Vec<&str> = text.rsplitn(most + 1, separator).collect();
        parts.reverse();
        parts
    } else {
        text.splitn(most + 1, separator).collect()
    }))
}

fn split_spaces(text: &str, from_right: bool, most: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = strip_text(text, None, true, true);
    while !rest.is_empty() {
        let at = match from_right {
            false => rest.find(is_space),
            true => rest.rfind(is_space),
        };
        let Some(at) = at.filter(|_| parts.len() < most) else {
            parts.push(rest);
            break;
        };
        if from_right {
            let after = at + rest[at..].chars().next().map_or(1, char::len_utf8);
            parts.push(&rest[after..]);
            rest = strip_text(&rest[..at], None, false, true);
        } else {
            parts.push(&rest[..at]);
            rest = strip_text(&rest[at..], None, true, false);
        }
    }
    // With splits left over, the other end keeps its spaces stripped; without,
    // Python leaves those of the remaining piece's far end alone.
    if parts.len() > most {
        if let Some(last) = parts.last_mut() {
            let start = last.as_ptr() as usize - text.as_ptr() as usize;
            *last = if from_right {
                &text[..start + last.len()]
            } else {
                &text[start..]
            };
        }
    }
    if from_right {
        parts.reverse();
    }
    parts
}

fn split_lines(text: &str, args: &[Value]) -> Outcome {
    let [keep] = Args::new(args).read(["keepends"])?;
    let keep = args::truth(&keep);
    let breaks = [
        '\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}',
    ];
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(breaks) {
        let width = match rest[at..].starts_with("\r\n") {
            true => 2,
            false => rest[at..].chars().next().map_or(1, char::len_utf8),
        };
        lines.push(&rest[..if keep { at + width } else { at }]);
        rest = &rest[at + width..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    Ok(list(lines))
}

fn partition(text: &str, from_right: bool, args: &[Value]) -> Outcome {
    let (separator,): (&str,) = from_args(args)?;
    if separator.is_empty() {
        return Err(invalid("empty separator"));
    }
    let at = match from_right {
        true => text.rfind(separator),
        false => text.find(separator),
    };
    let parts = match at {
        Some(at) => [&text[..at], separator, &text[at + separator.len()..]],
        None if from_right => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}

/// The part of `text` between two of Python's indices, and where it begins.
fn window(text: &str, start: Option<i64>, end: Option<i64>) -> (&str, usize) {
    let count = text.chars().count() as i64;
    let clamp = |at: i64| if at < 0 { (count + at).max(0) } else { at.min(count) } as usize;
    let (start, end) = (clamp(start.unwrap_or(0)), clamp(end.unwrap_or(count)));
    let byte = |at: usize| {
        text.char_indices()
            .nth(at)
            .map_or(text.len(), |(byte, _)| byte)
    };
    if start >= end {
        return ("", start);
    }
    (&text[byte(start)..byte(end)], start)
}

fn affix(text: &str, at_end: bool, args: &[Value]) -> Outcome {
    let (affixes, start, end): (Value, Option<i64>, Option<i64>) = from_args(args)?;
    let (text, _) = window(text, start, end);
    let matches = |affix: &Value| -> Result<bool, Error> {
        let affix = affix
            .as_str()
            .ok_or_else(|| invalid("startswith and endswith need a text or a tuple of texts"))?;
        Ok(match at_end {
            true => text.ends_with(affix),
            false => text.starts_with(affix),
        })
    };
    if !affixes.is_tuple() {
        return matches(&affixes).map(Value::from);
    }
    for affix in affixes.try_iter()? {
        if matches(&affix)? {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

fn remove_affix(text: &str, method: &str, args: &[Value]) -> Outcome {
    let (affix,): (&str,) = from_args(args)?;
    let kept = match method {
        "removeprefix" => text.strip_prefix(affix),
        _ => text.strip_suffix(affix),
    };
    Ok(Value::from(kept.unwrap_or(text)))
}

fn find(text: &str, method: &str, args: &[Value]) -> Outcome {
    let (needle, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
    let (part, offset) = window(text, start, end);
    let at = match method.starts_with('r') {
        true => part.rfind(needle),
        false => part.find(needle),
    };
    match at {
        Some(at) => Ok(Value::from(offset + part[..at].chars().count())),
        None if method.ends_with("index") => Err(invalid("substring not found")),
        None => Ok(Value::from(-1)),
    }
}

fn count(text: &str, args: &[Value]) -> Outcome {
    let (needle, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
    let (part, _) = window(text, start, end);
    Ok(Value::from(part.matches(needle).count()))
}

fn replace(state: &mut State, text: &str, args: &[Value]) -> Outcome {
    let [old, new, most] = Args::new(args).read(["old", "new", "count"])?;
    let (Some(_), Some(_)) = (args::text(&old)?, args::text(&new)?) else {
        return Err(invalid("replace needs two texts"));
    };
    let most = args::int(&most)?.unwrap_or(-1);
    let most = Value::from(most.clamp(-1, i32::MAX as i64));
    let given = [old.unwrap_or_default(), new.unwrap_or_default(), most];
    contrib(state, &Value::from(text), "replace", &given)
}

const WIDEST_PADDING: usize = 1 << 20;

fn pad(text: &str, method: &str, args: &[Value]) -> Outcome {
    let (width, fill): (i64, Option<&str>) = from_args(args)?;
    let width = usize::try_from(width).unwrap_or(0);
    if width > WIDEST_PADDING {
        return Err(invalid("the width is too large"));
    }
    let missing = width.saturating_sub(text.chars().count());
    let fill = if method == "zfill" {
        "0"
    } else {
        fill.unwrap_or(" ")
    };
    let left = match method {
        "ljust" => 0,
        // CPython puts the odd one left only when the width is odd.
        "center" => missing / 2 + (missing & width & 1),
        _ => missing,
    };
    let signed = method == "zfill" && text.starts_with(['+', '-']);
    let (sign, text) = text.split_at(usize::from(signed));
    Ok(Value::from(format!(
        "{sign}{}{text}{}",
        fill.repeat(left),
        fill.repeat(missing - left)
    )))
}

fn join(text: &str, args: &[Value]) -> Outcome {
    let (items,): (Value,) = from_args(args)?;
    let mut out = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        if index > 0 {
            out.push_str(text);
        }
        let part = item
            .as_str()
            .ok_or_else(|| invalid(format!("join needs texts, item {index} is none")))?;
        out.push_str(part);
        values::require_length(out.len())?;
    }
    Ok(Value::from(out))
}

fn dict_method(value: &Value, method: &str, args: &[Value]) -> Outcome {
    let object = value.as_object().ok_or_else(unknown)?;
    let pairs = || object.try_iter_pairs().into_iter().flatten();
    match method {
        "items" => {
            from_args::<()>(args)?;
            Ok(pairs()
                .map(|(key, item)| Value::from(Tuple::from([key, item])))
                .collect())
        }
        "keys" => {
            from_args::<()>(args)?;
            Ok(pairs().map(|(key, _)| key).collect())
        }
        "values" => {
            from_args::<()>(args)?;
            Ok(pairs().map(|(_, item)| item).collect())
        }
        "get" => {
            let (key, default): (Value, Option<Value>) = from_args(args)?;
            let found = pairs().find(|(known, _)| *known == key);
            Ok(found
                .map(|(_, item)| item)
                .or(default)
                .unwrap_or_else(|| Value::from(())))
        }
        "copy" => {
            from_args::<()>(args)?;
            Ok(value.clone())
        }
        "update" | "pop" | "popitem" | "clear" | "setdefault" => Err(invalid(format!(
            "the method {method} changes a dict, which templates must not do"
        ))),
        _ => Err(unknown()),
    }
}

fn list_method(value: &Value, method: &str, args: &[Value]) -> Outcome {
    match method {
        "index" => {
            let (wanted,): (Value,) = from_args(args)?;
            let at = value.try_iter()?.position(|item| item == wanted);
            at.map(Value::from)
                .ok_or_else(|| invalid("the value is not in the list"))
        }
        "count" => {
            let (wanted,): (Value,) = from_args(args)?;
            let matching = value.try_iter()?.filter(|item| *item == wanted);
            Ok(Value::from(matching.count()))
        }
        "copy" => {
            from_args::<()>(args)?;
            Ok(value.clone())
        }
        "append" | "extend" | "insert" | "pop" | "remove" | "clear" | "sort" | "reverse" => {
            Err(invalid(format!(
                "the method {method} changes a list, which templates must not do"
            )))
        }
        _ => Err(unknown()),
    }
}
