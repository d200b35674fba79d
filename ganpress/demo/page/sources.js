// Input of an image generator: samples that lie beside the page, a file, or a picture dropped anywhere on it.

import { draw, fromBytes, planesFromRgba, toImageData } from './pixels.js';
import { button, element, field } from './widgets.js';

const BYTES = [0, 255];

export async function imageControls(manifest, { show, tell }) {
  const { shape, range } = manifest.input;
  const samples = await loadSamples(manifest.samples, shape);
  const canvas = document.getElementById('source');
  const use = (planes, name) => {
    draw(canvas, toImageData(planes, shape, BYTES));
    document.getElementById('source-name').textContent = name;
    strip.mark(name);
    tell(null);
    show(fromBytes(planes, range));
  };
  const open = async (file) => {
    if (!file) return;
    try {
      use(await readPicture(file, shape), file.name);
    } catch {
      tell(`${file.name} is no picture that this browser can read; take a PNG, JPEG or WebP file.`);
    }
  };

  const strip = sampleStrip(samples, (planes) => toImageData(planes, shape, BYTES), use);
  const picker = element('input', { type: 'file', accept: 'image/*', hidden: true, id: 'picker' });
  picker.addEventListener('change', () => { open(picker.files[0]); picker.value = ''; });
  const choose = button('Choose a picture', () => picker.click());
  acceptDrops(open);
  document.getElementById('source-hint').textContent = 'Drop a picture anywhere on this page.';
  use(samples[0], 'sample 1');
  const [, height, width] = shape;
  const hint = `${manifest.samples.origin}; your own is cut to ${width} × ${height} pixels`;
  return [field('Sources', hint, [strip.row], [choose, picker])];
}

/** Bytes (C, H, W) of each sample; label maps have one channel. */
export async function loadSamples({ file, count }, [channels, height, width]) {
  const buffer = await (await fetch(file)).arrayBuffer();
  const each = channels * height * width;
  if (buffer.byteLength !== count * each) throw new Error(`${file} is damaged: write the demo again`);
  return Array.from({ length: count }, (_, index) => new Uint8Array(buffer, index * each, each));
}

/** Thumbnails to pick from: `row` to put on the page, and `mark(name)` for the one in use, or none. */
export function sampleStrip(samples, picture, pick) {
  const buttons = samples.map((planes, index) => {
    const thumbnail = element('canvas');
    draw(thumbnail, picture(planes));
    const choice = button('', () => pick(planes, choice.title));
    choice.title = `sample ${index + 1}`;
    choice.setAttribute('aria-label', choice.title);
    choice.append(thumbnail);
    return choice;
  });
  return {
    row: element('div', { className: 'strip' }, ...buttons),
    mark: (name) => buttons.forEach((one) => one.setAttribute('aria-pressed', String(one.title === name))),
  };
}

/** Scale a picture until it covers what the generator reads, and cut its middle out. */
async function readPicture(file, [channels, height, width]) {
  const picture = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const scale = Math.max(width / picture.width, height / picture.height);
  const [wide, high] = [picture.width * scale, picture.height * scale];
  context.fillStyle = 'white'; // behind what is transparent
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(picture, (width - wide) / 2, (height - high) / 2, wide, high);
  return planesFromRgba(context.getImageData(0, 0, width, height).data, channels);
}

function acceptDrops(open) {
  addEventListener('dragover', (event) => { event.preventDefault(); document.body.classList.add('dropping'); });
  addEventListener('dragleave', () => document.body.classList.remove('dropping'));
  addEventListener('drop', (event) => {
    event.preventDefault();
    document.body.classList.remove('dropping');
    open(event.dataTransfer.files[0]);
  });
}
