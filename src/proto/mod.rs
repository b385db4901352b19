//! Sans-IO: codecs and state machines. Time, bytes and randomness come in as arguments.

pub mod machine;
