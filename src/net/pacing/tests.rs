//! Tests of the pacing thread.
