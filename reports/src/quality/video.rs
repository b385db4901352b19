//! Video: no score, on purpose.
//!
//! ITU-T G.1070 has coefficients for codecs and screens of the VGA era only, and public copies of it disagree (one hard-codes an
//! exponent and misses by 0.8 on its five-point scale); P.940 and PSTR-CMVTQS2 need the coded stream, which a probe
//! does not have. A number from either would look like knowledge. What a probe can say about video is what the profile judges:
//! whether the rung's rate got through in time, with which loss, late loss and delay.

/// Why a report has no score for video, for people.
pub const NO_SCORE: &str = "No published model scores today's video from network figures alone. Video is judged by \
                            whether its rate got through, and by its loss, late loss and delay.";
