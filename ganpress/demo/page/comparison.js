// Draws what both generators make of the newest input, and keeps their times.

import { difference, draw, toImageData } from './pixels.js';
import { bytes, milliseconds, ratio, round } from './words.js';

export const ROLES = ['original', 'compressed'];
const RUNS_KEPT = 15;
const PATIENCE_MS = 120; // a slower original is left out while the input keeps moving
const GAIN = 4;
const SAME = 0.05; // clocks do not tell times apart that are this near

const byId = (id) => document.getElementById(id);

export class Comparison {
  #engine;
  #manifest;
  #newest = null;
  #busy = false;
  #times = { original: [], compressed: [] };
  #drawn = { original: 0, compressed: 0 };
  #pictures = {};
  runs = 0;
  input = null;

  constructor(engine, manifest) {
    this.#engine = engine;
    this.#manifest = manifest;
    for (const { role, reference, number_type: numbers, bytes: size } of manifest.generators) {
      byId(`${role}-reference`).textContent = `${reference} · ${numbers}`;
      byId(`${role}-bytes`).textContent = bytes(size);
    }
    const [original, compressed] = manifest.generators;
    byId('smaller').textContent = ratio(original.bytes / compressed.bytes);
  }

  /** Another engine for the same files, from the next run on; what was measured with the former one is dropped. */
  use(engine) {
    this.#engine = engine;
    this.#drawn = { original: 0, compressed: 0 };
    return this.show(this.input);
  }

  /** Milliseconds that one image of both took so far. */
  get milliseconds() {
    return ROLES.reduce((sum, role) => sum + median(this.#times[role]), 0);
  }

  get idle() {
    return !this.#busy && this.#newest === null;
  }

  /** Run both on `input` (Float32Array of one); of inputs that come while they run only the newest is kept. */
  async show(input) {
    this.#newest = input;
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#newest !== null) {
        const current = this.#newest;
        this.#newest = null;
        await this.#draw('compressed', current);
        const moving = this.#newest !== null && median(this.#times.original) > PATIENCE_MS;
        byId('original').classList.toggle('stale', moving);
        if (moving) continue;
        await this.#draw('original', current);
        this.input = current;
        this.runs += 1;
        this.#compare();
      }
    } finally {
      this.#busy = false;
    }
  }

  /** Time both on the current input; the figures then stand for these runs. */
  async measure(runs) {
    const input = this.input;
    for (const role of ROLES) {
      this.#times[role] = (await this.#engine.time(role, input, runs)).times;
      this.#drawn[role] += runs;
    }
    this.#compare();
    return Object.fromEntries(ROLES.map((role) => [role, this.#times[role].slice()]));
  }

  async #draw(role, input) {
    const { images, milliseconds: took } = await this.#engine.run(role, input);
    const { shape, range } = this.#manifest.output;
    this.#pictures[role] = toImageData(images, shape, range);
    this.#remember(role, took);
    draw(byId(role), this.#pictures[role]);
  }

  /** The first run also plans memory: its time is shown until there is another one. */
  #remember(role, took) {
    const kept = this.#drawn[role] < 2 ? [] : this.#times[role].slice(1 - RUNS_KEPT);
    this.#times[role] = [...kept, took];
    this.#drawn[role] += 1;
  }

  #compare() {
    const { image, mean, largest } = difference(this.#pictures.original, this.#pictures.compressed, GAIN);
    draw(byId('difference'), image);
    byId('difference-mean').textContent = round(mean, 1);
    byId('difference-largest').textContent = String(largest);
    byId('apart').textContent = round(mean, 1);
    const [original, compressed] = ROLES.map((role) => median(this.#times[role]));
    byId('original-time').textContent = milliseconds(original);
    byId('compressed-time').textContent = milliseconds(compressed);
    const gain = original / compressed;
    byId('faster').textContent = ratio(Math.max(gain, 1 / gain));
    const words = Math.abs(gain - 1) < SAME ? 'as fast' : gain > 1 ? 'faster' : 'slower';
    byId('faster-words').textContent = `${words} in this browser`;
  }
}

export function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
