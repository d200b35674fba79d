// Small pieces of the page, labelled for screen readers.

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A button; while what it does takes time it is switched off. */
export function button(text, onClick) {
  const made = element('button', { type: 'button', textContent: text });
  made.addEventListener('click', async () => {
    const done = onClick();
    if (!(done instanceof Promise)) return;
    made.disabled = true;
    try { await done; } finally { made.disabled = false; }
  });
  return made;
}

/** A labelled slider: `value`, `set(value)` without an event, and `row` to put on the page. */
export function slider(text, { min = 0, max, step, value = 0, digits = 2, onInput }) {
  const input = element('input', { type: 'range', min, max, step, value });
  const output = element('output');
  const tell = () => { output.textContent = Number(input.value).toFixed(digits); };
  input.addEventListener('input', () => { tell(); onInput(Number(input.value)); });
  tell();
  return {
    row: element('label', { className: 'slider' }, element('span', { textContent: text }), input, output),
    get value() { return input.value; },
    set(next) { input.value = next; tell(); },
  };
}

/** A titled group: rows, and buttons beside the title. */
export function field(title, hint, rows, buttons = []) {
  const head = element('div', { className: 'head' },
    element('h2', { textContent: title }), element('p', { className: 'muted', textContent: hint }),
    element('div', { className: 'buttons' }, ...buttons));
  return element('section', { className: 'field' }, head, element('div', { className: 'rows' }, ...rows));
}
