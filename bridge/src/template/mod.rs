//! Chat templates over minijinja, rendered as `transformers` renders them.

mod args;
mod clock;
mod json;
mod library;
mod methods;
mod objects;
mod operators;
mod source;
mod values;

use crate::border::{guard, Buffer, Failure, Outcome, View};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, UndefinedBehavior};

const NAME: &str = "chat_template";
/// Steps (and 64-byte pieces of output) that a rendering may take; real ones
/// take some ten thousand.
const FUEL: u64 = 4_000_000;

/// The opaque handle of C++.
pub struct Template {
    environment: Environment<'static>,
}

fn describe(error: &Error) -> String {
    let place = error
        .line()
        .map_or(String::new(), |line| format!("line {line}: "));
    let reason = error
        .detail()
        .map_or(String::new(), |detail| format!(": {detail}"));
    format!("{place}{}{reason}", error.kind())
}

/// The words of raise_exception alone; of other errors the line and the reason.
fn refusal(error: Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(inner) = current.downcast_ref::<Error>() {
            if let Some(words) = inner
                .detail()
                .and_then(|text| text.strip_prefix(library::RAISED))
            {
                return Failure::refused(words);
            }
        }
        cause = current.source();
    }
    Failure::refused(describe(&error))
}

fn compile(source: &str) -> Outcome<Template> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(Failure::broken)?,
    );
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(methods::call);
    environment.set_formatter(|out, _, value| match value.as_str() {
        Some(text) => out.write_str(text).map_err(Error::from),
        None => {
            let text = values::text(value);
            values::require_length(text.len())?;
            out.write_str(&text).map_err(Error::from)
        }
    });
    library::install(&mut environment);
    environment
        .add_template_owned(NAME, source::rewrite(source))
        .map_err(|error| Failure::broken(describe(&error)))?;
    Ok(Template { environment })
}

fn render(template: &Template, variables: &str) -> Outcome<String> {
    let context = serde_json::from_str(variables).map_err(Failure::broken)?;
    template
        .environment
        .get_template(NAME)
        .and_then(|compiled| compiled.render(values::from_json(context)))
        .map_err(refusal)
}

#[no_mangle]
pub unsafe extern "C" fn rb_template_compile(
    source: View,
    out: *mut *mut Template,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        out.write(Box::into_raw(Box::new(compile(source.text()?)?)));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn rb_template_free(compiled: *mut Template) {
    if !compiled.is_null() {
        guard(std::ptr::null_mut(), || {
            drop(Box::from_raw(compiled));
            Ok(())
        });
    }
}

#[no_mangle]
pub unsafe extern "C" fn rb_template_render(
    compiled: *const Template,
    variables: View,
    out: *mut Buffer,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        out.write(Buffer::from_text(render(&*compiled, variables.text()?)?));
        Ok(())
    })
}
