//! Scalars for TensorBoard: one event file for each process that writes.

use crate::border::{guard, Buffer, Failure, Outcome, View};
use std::fs::File;
use std::path::Path;
use tboard::tensorboard::{event::What, session_log::SessionStatus, SessionLog};
use tboard::EventWriter;

pub struct Events(EventWriter<File>);

/// Opens a file of its own in the folder; what older files there say about
/// `first_step` and later ones no longer counts.
fn create(folder: &Path, first_step: i64) -> tboard::Result<Events> {
    let mut writer = EventWriter::create(folder)?;
    let start = SessionLog {
        status: SessionStatus::Start.into(),
        ..Default::default()
    };
    writer.write(first_step, What::SessionLog(start))?;
    Ok(Events(writer))
}

fn told<T>(result: tboard::Result<T>) -> Outcome<T> {
    result.map_err(Failure::refused)
}

#[no_mangle]
pub unsafe extern "C" fn rb_events_create(
    folder: View,
    first_step: i64,
    out: *mut *mut Events,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let events = told(create(Path::new(folder.text()?), first_step))?;
        out.write(Box::into_raw(Box::new(events)));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn rb_events_add(
    events: *mut Events,
    step: i64,
    tag: View,
    value: f32,
    error: *mut Buffer,
) -> i32 {
    guard(error, || {
        let tag = tag.text()?;
        told((*events).0.write_scalar(step, tag, value))
    })
}

#[no_mangle]
pub unsafe extern "C" fn rb_events_free(events: *mut Events) {
    if !events.is_null() {
        drop(Box::from_raw(events));
    }
}
