//! Chat templates over minijinja, rendered as `transformers` renders them.

use crate::border::{guard, Buffer, Failure, Outcome, View};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

const NAME: &str = "chat_template";

/// The opaque handle of C++.
pub struct Template {
    environment: Environment<'static>,
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
    environment
        .add_template_owned(NAME, source.to_owned())
        .map_err(Failure::broken)?;
    Ok(Template { environment })
}

fn render(template: &Template, variables: &str) -> Outcome<String> {
    let context: Value = serde_json::from_str(variables).map_err(Failure::broken)?;
    template
        .environment
        .get_template(NAME)
        .and_then(|compiled| compiled.render(context))
        .map_err(Failure::refused)
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
