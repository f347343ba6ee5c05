//! The resources that people write for Argo CD, as Rust types.
mod object;

pub use object::{Object, ObjectKey};
