//! A report for people and programs: terminal, HTML, JSON.
//!
//! Renderers are functions of the report alone. They say what the report says: nothing is judged, rounded up or filled in
//! here, and what was not measured is shown with its reason.

pub mod comparison;
pub mod csv;
pub mod csv_details;
pub mod html;
pub mod json;
pub mod machine;
pub mod pcap;
pub mod terminal;

mod details;
mod devices;
mod echo;
mod figures;
mod marking;
mod mtu;
mod names;
mod nat;
mod nearby;
mod number;
mod path;
mod reachability;
mod relay;
mod services;
mod surroundings;
mod whip;
mod words;

pub use number::{count, ms, percent};
pub use words::{clean, fault, mark, verdict};
