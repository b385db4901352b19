//! Tests of the sockets.
