// Latents from a seed: the same seed gives the same samples in every browser.

/** Uniform numbers in (0, 1): mulberry32, a 32-bit generator that is enough for pictures. */
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

/** `count` standard normal latents of `size` numbers, by Box and Muller. */
export function normalLatents(seed, count, size) {
  const next = uniform(seed);
  const one = () => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());
  return Array.from({ length: count }, () => Float32Array.from({ length: size }, one));
}

/** Along the great circle between two latents, share 0 to 1; on a straight line images in between would be paler. */
export function slerp(from, to, share) {
  const dot = (one, other) => one.reduce((sum, value, index) => sum + value * other[index], 0);
  const cosine = dot(from, to) / Math.sqrt(dot(from, from) * dot(to, to));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  const [near, far] = sine < 1e-4
    ? [1 - share, share]
    : [Math.sin((1 - share) * angle) / sine, Math.sin(share * angle) / sine];
  return from.map((value, index) => near * value + far * to[index]);
}
