//! The local time, formatted by the C library as Python does it.

use minijinja::{Error, ErrorKind};
use std::ffi::CString;

pub fn format_now(format: &str) -> Result<String, Error> {
    let failed = |detail| Error::new(ErrorKind::InvalidOperation, detail);
    if format.is_empty() {
        return Ok(String::new());
    }
    let pattern =
        CString::new(format).map_err(|_| failed("strftime_now: the format has a zero byte"))?;
    let mut out = vec![0u8; 64 + 32 * format.len()];
    // Safety: the buffers outlive the calls, and strftime is told the size.
    let written = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&now, &mut parts).is_null() {
            return Err(failed("strftime_now: the local time is unknown"));
        }
        libc::strftime(out.as_mut_ptr().cast(), out.len(), pattern.as_ptr(), &parts)
    };
    out.truncate(written);
    Ok(String::from_utf8_lossy(&out).into_owned())
}
