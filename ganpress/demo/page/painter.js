// Input of a semantic generator: label maps that lie beside the page, painted over with a brush.

import { colourLabels, draw, oneHot } from './pixels.js';
import { loadSamples, sampleStrip } from './sources.js';
import { button, element, field, slider } from './widgets.js';

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export async function labelControls(manifest, { show }) {
  const [classes, height, width] = manifest.input.shape;
  const colours = manifest.labels.map(({ colour }) => colour);
  const samples = await loadSamples(manifest.samples, [1, height, width]);
  const canvas = document.getElementById('source');
  const picture = (ids) => colourLabels(ids, [height, width], colours);
  let ids = samples[0].slice();
  let chosen = Math.min(1, classes - 1);

  const refresh = () => { draw(canvas, picture(ids)); show(oneHot(ids, classes)); };
  const use = (planes, name) => {
    ids = planes.slice();
    document.getElementById('source-name').textContent = name;
    strip.mark(name);
    refresh();
  };
  const stamp = (x, y) => {
    const radius = Number(brush.value) / 2;
    for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(height - 1, y + radius); row += 1) {
      for (let column = Math.max(0, Math.ceil(x - radius)); column <= Math.min(width - 1, x + radius); column += 1) {
        if ((row - y) ** 2 + (column - x) ** 2 <= radius ** 2) ids[row * width + column] = chosen;
      }
    }
  };

  const brush = slider('Brush', {
    min: 1, max: Math.ceil(Math.min(height, width) / 3), step: 1, digits: 0, value: Math.ceil(width / 10), onInput: () => {},
  });
  const palette = element('div', { className: 'palette', role: 'radiogroup', ariaLabel: 'Label to paint with' },
    ...manifest.labels.map(({ name, colour }, index) => {
      const radio = element('input', { type: 'radio', name: 'label', checked: index === chosen });
      radio.addEventListener('change', () => { chosen = index; });
      const patch = element('i');
      patch.style.background = colour;
      return element('label', {}, radio, patch, name);
    }));
  brush.row.classList.add('short');
  const fill = button('Fill', () => { ids.fill(chosen); refresh(); });
  paintable(canvas, [width, height], stamp, () => { strip.mark(null); refresh(); });
  document.getElementById('source-hint').textContent = 'Paint on it; with the keyboard: arrows move, space paints.';
  const strip = sampleStrip(samples, picture, use);
  use(samples[0], 'sample 1');
  return [
    field('Labels', 'choose one and paint on the source', [palette, brush.row], [fill]),
    field('Sources', `label maps, ${manifest.samples.origin}`, [strip.row]),
  ];
}

/** Let a pointer or the keyboard stamp on a canvas of `size` pixels; a stroke has no gaps. */
function paintable(canvas, [width, height], stamp, refresh) {
  let last = null;
  let cursor = [width / 2, height / 2];
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width - 0.5, ((event.clientY - box.top) / box.height) * height - 0.5];
  };
  const stroke = (to) => {
    const from = last ?? to;
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1])));
    for (let step = 1; step <= steps; step += 1) {
      stamp(...from.map((start, axis) => start + ((to[axis] - start) * step) / steps));
    }
    last = to;
    refresh();
  };
  canvas.classList.add('paintable');
  canvas.tabIndex = 0;
  canvas.addEventListener('pointerdown', (event) => { canvas.setPointerCapture(event.pointerId); stroke(place(event)); });
  canvas.addEventListener('pointermove', (event) => { if (event.buttons & 1 && last) stroke(place(event)); });
  for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => { last = null; });
  canvas.addEventListener('keydown', (event) => {
    if (event.key === ' ') stroke(cursor);
    else if (KEYS[event.key]) {
      cursor = cursor.map((at, axis) => Math.min([width, height][axis] - 1, Math.max(0, at + KEYS[event.key][axis])));
      if (!event.shiftKey) last = null;
      else stroke(cursor);
    } else return;
    event.preventDefault();
    if (event.key === ' ') last = null;
  });
}
