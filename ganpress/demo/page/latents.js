// Input of a latent generator: samples in a strip, a walk along them, and sliders for the directions that show most.

import { draw, toImageData } from './pixels.js';
import { normalLatents, slerp } from './random.js';
import { button, field, slider } from './widgets.js';

const SAMPLES = 8;
const SAMPLES_A_SECOND = 0.4;
const LARGEST_OFFSET = 3; // standard deviations

export async function latentControls(manifest, { engine, show, isIdle }) {
  const [size] = manifest.input.shape;
  const directions = await loadDirections(manifest.samples, size);
  const page = new URL(location.href);
  let seed = Number.parseInt(page.searchParams.get('seed') ?? '1', 10) || 1;
  let keys = [];
  let playing = 0;

  const current = () => {
    const place = Number(walk.value);
    const index = Math.floor(place) % SAMPLES;
    const z = slerp(keys[index], keys[(index + 1) % SAMPLES], place - Math.floor(place));
    offsets.forEach((offset, at) => {
      const amount = Number(offset.value);
      for (let axis = 0; axis < size; axis += 1) z[axis] += amount * directions[at * size + axis];
    });
    return z;
  };
  const refresh = () => {
    strip.querySelectorAll('button').forEach((one, index) => {
      one.setAttribute('aria-pressed', String(Number(walk.value) === index));
    });
    show(current());
  };

  const strip = document.createElement('div');
  strip.className = 'strip';
  const walk = slider('Walk along the samples', { max: SAMPLES - 0.01, step: 0.01, onInput: refresh });
  const offsets = Array.from({ length: manifest.samples.count }, (_, index) =>
    slider(`Direction ${index + 1}`, { min: -LARGEST_OFFSET, max: LARGEST_OFFSET, step: 0.05, onInput: refresh }));

  const renew = async () => {
    keys = normalLatents(seed, SAMPLES, size);
    page.searchParams.set('seed', String(seed));
    history.replaceState(null, '', page);
    await drawStrip(strip, manifest, engine(), keys, (index) => { walk.set(index); refresh(); });
    walk.set(0);
    refresh();
  };
  const play = button('Play', () => {
    playing = playing ? 0 : performance.now();
    play.textContent = playing ? 'Stop' : 'Play';
    if (playing) requestAnimationFrame(step);
  });
  const step = (now) => {
    if (!playing) return;
    if (isIdle()) {
      walk.set((Number(walk.value) + ((now - playing) / 1000) * SAMPLES_A_SECOND) % (SAMPLES - 0.01));
      playing = now;
      refresh();
    }
    requestAnimationFrame(step);
  };
  const reset = button('Reset', () => { offsets.forEach((offset) => offset.set(0)); refresh(); });

  const fresh = button('New samples', () => { seed += 1; return renew(); });
  const samples = field('Samples', 'by the compressed generator; pick one, or walk along the great circles between them',
    [strip, walk.row], [play, fresh]);
  const moves = field('Directions', 'that change the image most, in standard deviations', offsets.map((one) => one.row), [reset]);
  moves.querySelector('.rows').classList.add('columns');
  await renew();
  return [samples, moves];
}

async function loadDirections({ file, count }, size) {
  const buffer = await (await fetch(file)).arrayBuffer();
  if (buffer.byteLength !== 4 * count * size) throw new Error(`${file} is damaged: write the demo again`);
  return new Float32Array(buffer);
}

async function drawStrip(strip, { output }, engine, keys, pick) {
  const together = new Float32Array(keys.length * keys[0].length);
  keys.forEach((key, index) => together.set(key, index * key.length));
  const { images } = await engine.run('compressed', together, keys.length);
  const each = images.length / keys.length;
  strip.replaceChildren(...keys.map((_, index) => {
    const thumbnail = document.createElement('canvas');
    draw(thumbnail, toImageData(images.subarray(index * each, (index + 1) * each), output.shape, output.range));
    const choice = button('', () => pick(index));
    choice.setAttribute('aria-label', `Sample ${index + 1}`);
    choice.append(thumbnail);
    return choice;
  }));
}
