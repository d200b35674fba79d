// The worker with both generators, as functions that return promises.

export class Engine {
  #worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
  #waiting = new Map();
  #next = 0;
  #closing = false;
  providers = {}; // what each generator runs on, by role

  /** Load the runtime and both generators; rejects with the reason if that is not possible. */
  static async open(manifest, threads) {
    const engine = new Engine();
    engine.#worker.onmessage = ({ data }) => engine.#settle(data);
    engine.#worker.onerror = (event) => engine.#fail(event.message ?? 'the worker cannot be started');
    engine.providers = (await engine.#ask('open', { manifest, threads })).providers;
    return engine;
  }

  /** Run `count` inputs at once: { images: Float32Array, milliseconds }. */
  run(role, values, count = 1) {
    return this.#ask('run', { role, values, count });
  }

  /** Run one input again and again: { times } in milliseconds. */
  time(role, values, runs) {
    return this.#ask('time', { role, values, runs });
  }

  /** Stop the worker once it has done what it was asked for. */
  close() {
    this.#closing = true;
    this.#stopWhenDone();
  }

  #ask(task, request) {
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, task, request });
    });
  }

  #settle({ id, result, error }) {
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
    this.#stopWhenDone();
  }

  #stopWhenDone() {
    if (this.#closing && this.#waiting.size === 0) this.#worker.terminate();
  }

  #fail(reason) {
    for (const { reject } of this.#waiting.values()) reject(new Error(reason));
    this.#waiting.clear();
  }
}
