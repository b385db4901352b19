//! Emulated links with ground truth.
