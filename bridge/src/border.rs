//! What crosses the border: views in, buffers out, statuses, caught panics.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::slice;
use std::sync::Once;

/// Why a call failed; the numbers are those of `rb_status` in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    Ok = 0,
    Broken = 1,
    Refused = 3,
    Panicked = 4,
}

pub struct Failure {
    pub status: Status,
    pub message: String,
}

impl Failure {
    pub fn broken(message: impl ToString) -> Self {
        Failure {
            status: Status::Broken,
            message: message.to_string(),
        }
    }

    pub fn refused(message: impl ToString) -> Self {
        Failure {
            status: Status::Refused,
            message: message.to_string(),
        }
    }
}

pub type Outcome<T> = Result<T, Failure>;

/// Borrowed bytes of the caller.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct View {
    data: *const u8,
    size: usize,
}

impl View {
    /// # Safety
    /// `data` points at `size` readable bytes that outlive the result.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.size == 0 {
            return &[];
        }
        slice::from_raw_parts(self.data, self.size)
    }

    /// # Safety
    /// As for `bytes`.
    pub unsafe fn text<'a>(self) -> Outcome<&'a str> {
        std::str::from_utf8(self.bytes())
            .map_err(|error| Failure::broken(format!("not UTF-8: {error}")))
    }
}

/// Bytes that the bridge owns until `rb_buffer_free`.
#[repr(C)]
pub struct Buffer {
    data: *mut u8,
    size: usize,
}

impl Buffer {
    pub fn from_text(text: String) -> Self {
        Self::from_bytes(text.into_bytes())
    }

    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let bytes = bytes.into_boxed_slice();
        let size = bytes.len();
        Buffer {
            data: Box::into_raw(bytes) as *mut u8,
            size,
        }
    }
}

/// Ids that the bridge owns until `rb_ids_free`.
#[repr(C)]
pub struct Ids {
    data: *mut u32,
    size: usize,
}

impl Ids {
    pub fn from_slice(ids: &[u32]) -> Self {
        let ids = ids.to_vec().into_boxed_slice();
        let size = ids.len();
        Ids {
            data: Box::into_raw(ids) as *mut u32,
            size,
        }
    }
}

thread_local! {
    static PANIC_TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps a panic's words for its message instead of printing them.
fn keep_panics_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let text = info.to_string();
            let _ = PANIC_TEXT.try_with(|slot| *slot.borrow_mut() = text);
        }));
    });
}

/// Runs `body`; a failure or a panic goes to `error` and becomes the status.
///
/// # Safety
/// `error` is null or points at a writable Buffer.
pub unsafe fn guard(error: *mut Buffer, body: impl FnOnce() -> Outcome<()>) -> i32 {
    keep_panics_quiet();
    let failure = match panic::catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return Status::Ok as i32,
        Ok(Err(failure)) => failure,
        Err(_) => Failure {
            status: Status::Panicked,
            message: PANIC_TEXT.with(|slot| slot.take()),
        },
    };
    if !error.is_null() {
        error.write(Buffer::from_text(failure.message));
    }
    failure.status as i32
}

/// Runs a crate's reader on foreign data; a panic means that the data is broken.
pub fn reading<T>(body: impl FnOnce() -> T) -> Outcome<T> {
    panic::catch_unwind(AssertUnwindSafe(body)).map_err(|_| {
        let words = PANIC_TEXT.with(|slot| slot.take());
        // The first line is a place in the crate's source.
        Failure::broken(words.split_once('\n').map_or("", |(_, reason)| reason))
    })
}

#[no_mangle]
pub unsafe extern "C" fn rb_buffer_free(buffer: Buffer) {
    if !buffer.data.is_null() {
        drop(Box::from_raw(slice::from_raw_parts_mut(
            buffer.data,
            buffer.size,
        )));
    }
}

#[no_mangle]
pub unsafe extern "C" fn rb_ids_free(ids: Ids) {
    if !ids.data.is_null() {
        drop(Box::from_raw(slice::from_raw_parts_mut(ids.data, ids.size)));
    }
}

/// Panics on purpose, so that a test can see that the border holds.
#[no_mangle]
pub unsafe extern "C" fn rb_panic_probe(error: *mut Buffer) -> i32 {
    guard(error, || panic!("the probe panicked as asked"))
}
