// Runs both generators away from the page, so that it stays responsive and times are those of the runtime alone.

const BUILDS = {
  webgpu: { script: './runtime/ort.webgpu.bundle.min.mjs', kernels: 'runtime/ort-wasm-simd-threaded.asyncify.wasm' },
  wasm: { script: './runtime/ort.wasm.bundle.min.mjs', kernels: 'runtime/ort-wasm-simd-threaded.wasm' },
};

const sessions = new Map();
let ort;

/** Load the runtime and both generators; what each of them runs on: { original: 'webgpu', … }. */
async function open({ manifest, threads }) {
  const asked = manifest.generators.some(({ providers }) => providers.includes('webgpu'));
  const { script, kernels } = BUILDS[asked && await hasGpu() ? 'webgpu' : 'wasm'];
  ort = await import(script);
  ort.env.logLevel = 'error';
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = { wasm: new URL(kernels, import.meta.url).href };
  const providers = {};
  for (const generator of manifest.generators) {
    const content = await checkedFile(generator);
    const wanted = script === BUILDS.webgpu.script ? generator.providers : ['wasm'];
    const [session, provider] = await firstThatLoads(content, wanted, generator.settings);
    sessions.set(generator.role, { session, input: manifest.input, output: manifest.output.name });
    providers[generator.role] = provider;
  }
  return { providers };
}

/** Browsers may know WebGPU and have no processor for it. */
async function hasGpu() {
  try {
    return Boolean(await self.navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}

/** A session on the first provider that takes the file; the last one's error where none does. */
async function firstThatLoads(content, providers, settings) {
  const [provider, ...others] = providers;
  try {
    const options = { executionProviders: [provider], extra: settings };
    return [await ort.InferenceSession.create(content.slice(), options), provider];
  } catch (error) {
    if (others.length === 0) throw error;
    return firstThatLoads(content, others, settings);
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
