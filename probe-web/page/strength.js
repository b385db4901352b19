// How strong a connection is, and how large a picture is wanted.

/** Lines of the picture that is wanted; 0 for none. */
export const linesOf = (wanted) => (wanted === 'audio' ? 0 : parseInt(wanted, 10) || 720);

/** By the worse of both: 4 well within the good value, 3 within it, 2 within the limit, 1 beyond it. */
export function bars(rtt_ms, loss_ratio, { rtt_good_ms, rtt_limit_ms, loss_good_ratio, loss_limit_ratio }) {
  const of = (value, good, limit) => {
    if (value <= good / 2) return 4;
    if (value <= good) return 3;
    return value <= limit ? 2 : 1;
  };
  return Math.min(of(rtt_ms, rtt_good_ms, rtt_limit_ms), of(loss_ratio, loss_good_ratio, loss_limit_ratio));
}
