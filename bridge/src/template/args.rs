//! The arguments of a Python call: by position or by name.

use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, Value};

pub struct Args<'a> {
    positional: &'a [Value],
    named: Option<Kwargs>,
}

fn too_many() -> Error {
    Error::from(ErrorKind::TooManyArguments)
}

impl<'a> Args<'a> {
    pub fn new(args: &'a [Value]) -> Self {
        if let Some((last, before)) = args.split_last().filter(|(last, _)| last.is_kwargs()) {
            if let Ok(named) = Kwargs::try_from(last.clone()) {
                return Args {
                    positional: before,
                    named: Some(named),
                };
            }
        }
        Args {
            positional: args,
            named: None,
        }
    }

    /// For filters, which get the two kinds apart.
    pub fn of(positional: &'a [Value], named: Kwargs) -> Self {
        Args {
            positional,
            named: Some(named),
        }
    }

    /// Reads the parameters `names`, which may be given either way.
    pub fn read<const N: usize>(&self, names: [&str; N]) -> Result<[Option<Value>; N], Error> {
        if self.positional.len() > N {
            return Err(too_many());
        }
        let mut found = [const { None }; N];
        for (index, name) in names.into_iter().enumerate() {
            found[index] = match (self.positional.get(index), &self.named) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(named)) if named.has(name) => Some(named.get::<Value>(name)?),
                _ => None,
            };
        }
        if let Some(named) = &self.named {
            named.assert_all_used()?;
        }
        Ok(found)
    }
}

/// An int argument; None and a missing one are the same.
pub fn int(value: &Option<Value>) -> Result<Option<i64>, Error> {
    match value {
        Some(value) if !value.is_none() => Ok(Some(i64::try_from(value.clone())?)),
        _ => Ok(None),
    }
}

pub fn truth(value: &Option<Value>) -> bool {
    value.as_ref().is_some_and(Value::is_true)
}

/// A text argument; None and a missing one are the same.
pub fn text(value: &Option<Value>) -> Result<Option<&str>, Error> {
    match value {
        Some(value) if !value.is_none() => value.as_str().map(Some).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidOperation,
                format!("a text was expected, not a {}", value.kind()),
            )
        }),
        _ => Ok(None),
    }
}
