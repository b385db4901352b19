//! Renderers against sample reports: golden files, width, hostile text, numbers that are none.

mod html;
mod json;
mod samples;
mod terminal;
