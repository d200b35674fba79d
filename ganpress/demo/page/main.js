// Starts the page: the manifest says which generators there are and what they read.

import { Comparison } from './comparison.js';
import { Engine } from './engine.js';
import { latentControls } from './latents.js';
import { labelControls } from './painter.js';
import { imageControls } from './sources.js';
import { element } from './widgets.js';
import { bytes, macs } from './words.js';

const CONTROLS = { latents: latentControls, image: imageControls, labels: labelControls };
const MEASURED_RUNS = 30;
const FIRST_RUNS = 9;
const FAST_MS = 100; // what is faster is measured at once, as its first run tells little
const MOST_THREADS = 4;

const byId = (id) => document.getElementById(id);

/** Say what went wrong with one input; the next good one takes it away. */
function tell(reason) {
  byId('status').textContent = reason ?? '';
  byId('status').className = 'failed';
  byId('status').hidden = !reason;
}

function fail(reason) {
  tell(reason);
  document.documentElement.dataset.state = 'failed';
}

async function readManifest() {
  const answer = await fetch('manifest.json', { cache: 'no-cache' });
  if (!answer.ok) throw new Error(`manifest.json cannot be loaded (HTTP ${answer.status})`);
  return answer.json();
}

const BACKENDS = { webgpu: 'WebGPU', wasm: 'WebAssembly' };

function describe(manifest, providers) {
  document.title = manifest.title;
  byId('ship').textContent = manifest.ship;
  byId('ship').hidden = !manifest.ship;
  byId('runtime-name').textContent = manifest.runtime;
  const [original, compressed] = manifest.generators;
  const rows = [
    ['Generator', ({ reference }) => reference],
    ['Number type', ({ number_type: numbers }) => numbers],
    ['File', (one) => bytes(one.bytes) + (one.packed_bytes ? ` (${bytes(one.packed_bytes)} packed)` : '')],
    ['Parameters', ({ parameters }) => parameters.toLocaleString('en')],
    ['Multiply-accumulates an image', (one) => macs(one.macs)],
    ['Network', ({ builder }) => builder],
    ['Runs on', ({ role }) => BACKENDS[providers[role]]],
    ['SHA-256', ({ sha256 }) => `${sha256.slice(0, 16)}…`],
  ];
  byId('facts').append(...rows.map(([name, value]) => element('tr', {},
    element('th', { scope: 'row', textContent: name }),
    element('td', { textContent: value(original) }), element('td', { textContent: value(compressed) }))));
}

/** Threads need a page that is isolated from others (two headers, docs/demo.md); elsewhere there is one. */
function offerThreads(change) {
  const most = globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  byId('threads-option').hidden = most === 1;
  byId('threads').append(...Array.from({ length: most }, (_, index) => element('option', { textContent: index + 1 })));
  byId('threads').addEventListener('change', () => change(Number(byId('threads').value)));
}

async function start() {
  const manifest = await readManifest();
  let engine = await Engine.open(manifest, 1);
  describe(manifest, engine.providers);
  const comparison = new Comparison(engine, manifest);
  // The console, and tests, see what the page shows: `demo.input`, `await demo.measure(30)`.
  globalThis.demo = comparison;
  byId('source-panel').hidden = manifest.kind === 'latents';
  byId('stage').hidden = false;
  offerThreads(async (threads) => {
    try {
      const next = await Engine.open(manifest, threads);
      engine.close();
      engine = next;
      await comparison.use(engine);
    } catch (error) {
      fail(error.message);
    }
  });
  const difference = byId('show-difference');
  difference.addEventListener('change', () => { byId('difference-panel').hidden = !difference.checked; });
  byId('measure').addEventListener('click', async ({ target }) => {
    target.disabled = true;
    await comparison.measure(MEASURED_RUNS).finally(() => { target.disabled = false; });
  });
  let drawn;
  const show = (input) => { drawn = comparison.show(input).catch((error) => fail(error.message)); };
  byId('controls').append(...await CONTROLS[manifest.kind](manifest, {
    engine: () => engine, show, tell, isIdle: () => comparison.idle,
  }));
  await drawn;
  if (document.documentElement.dataset.state !== 'failed') {
    byId('status').hidden = true;
    document.documentElement.dataset.state = 'ready';
    if (comparison.milliseconds < FAST_MS) await comparison.measure(FIRST_RUNS);
  }
}

start().catch((error) => fail(`The page cannot start: ${error.message}`));
