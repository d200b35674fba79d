// Runs both generators away from the page, so that it stays responsive and times are those of the runtime alone.

import * as ort from './runtime/ort.wasm.bundle.min.mjs';

const sessions = new Map();

async function open({ manifest, threads }) {
  ort.env.logLevel = 'error';
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { wasm: new URL('runtime/ort-wasm-simd-threaded.wasm', import.meta.url).href };
  for (const generator of manifest.generators) {
    const session = await ort.InferenceSession.create(await checkedFile(generator), {
      executionProviders: ['wasm'],
      extra: generator.settings,
    });
    sessions.set(generator.role, { session, input: manifest.input, output: manifest.output.name });
  }
}

/** The bytes of a generator's file; crypto.subtle is missing on pages that come over plain http from elsewhere. */
async function checkedFile({ file, bytes, sha256 }) {
  const answer = await fetch(new URL(file, import.meta.url));
  if (!answer.ok) throw new Error(`${file} cannot be loaded (HTTP ${answer.status})`);
  const content = new Uint8Array(await answer.arrayBuffer());
  if (content.length !== bytes) throw new Error(`${file} has ${content.length} bytes, not ${bytes}: write the demo again`);
  if (self.crypto?.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', content));
    const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
    if (found !== sha256) throw new Error(`${file} is not the file of its card (SHA-256 differs): write the demo again`);
  }
  return content;
}

async function run({ role, values, count }) {
  const { session, input, output } = sessions.get(role);
  const start = performance.now();
  const results = await session.run({ [input.name]: new ort.Tensor('float32', values, [count, ...input.shape]) });
  const milliseconds = performance.now() - start;
  const images = results[output].data.slice();
  results[output].dispose();
  return { images, milliseconds };
}

/** Milliseconds of each of `runs` runs, after a few that are not counted. */
async function time({ role, values, runs, unmeasured = 3 }) {
  const times = [];
  for (let index = -unmeasured; index < runs; index += 1) {
    const { milliseconds } = await run({ role, values, count: 1 });
    if (index >= 0) times.push(milliseconds);
  }
  return { times };
}

const TASKS = { open, run, time };

let last = Promise.resolve();

self.onmessage = ({ data }) => {
  last = last.then(() => answer(data)); // one after the other: a session runs one input at a time
};

async function answer({ id, task, request }) {
  try {
    const result = await TASKS[task](request);
    self.postMessage({ id, result }, result?.images ? [result.images.buffer] : []);
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
}
