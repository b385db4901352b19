//! Renderers against sample reports: golden files, width, hostile text, numbers that are none.

mod json;
mod samples;
mod terminal;
