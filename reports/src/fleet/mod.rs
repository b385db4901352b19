//! What agents and the server that they report to agree on: schedules, configuration, messages, and what is signed. Pure.
//!
//! Both sides compute when a run is due from the same function, so that a server knows what should have arrived without being told.

mod config;
mod messages;
mod planner;
mod schedule;
mod signed;

pub use config::{AgentConfig, ConfigFault, Suppression};
pub use messages::*;
pub use planner::{Due, Planner, Turn};
pub use schedule::{Occasion, Schedule};
pub use signed::{enrollment, new_key, token_request};
