//! Microphones and speakers through a real sound server.
#![cfg(all(target_os = "linux", feature = "audio"))]

mod command;
mod loops;
mod server;
mod signals;
mod streams;
