//! Bodies on their way through: bounded in time and size, never collected.
//!
//! A frame is asked of one side only when the other side wants it, so a slow
//! reader slows its writer down and memory stays bounded whatever the size.

mod pace;
mod request;
mod response;

pub(crate) use request::{RequestBody, Upload, UploadEnd};
pub(crate) use response::{Back, Body, ResponseBody};
