//! Microphones and speakers through a real sound server.
#![cfg(all(target_os = "linux", feature = "audio"))]

mod server;
mod streams;
