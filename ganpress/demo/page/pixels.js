// Between float images (C, H, W) in a generator's range and the bytes of a canvas.

/** Float images of one or three channels -> ImageData; rounds to the nearest byte, ties to even. */
export function toImageData(values, [channels, height, width], [low, high]) {
  const image = new ImageData(width, height);
  const area = height * width;
  const scale = 255 / (high - low);
  for (let pixel = 0; pixel < area; pixel += 1) {
    for (let colour = 0; colour < 3; colour += 1) {
      const plane = channels === 1 ? 0 : colour;
      image.data[4 * pixel + colour] = (values[plane * area + pixel] - low) * scale;
    }
    image.data[4 * pixel + 3] = 255;
  }
  return image;
}

/** Bytes (C, H, W) -> floats in a generator's range. */
export function fromBytes(bytes, [low, high]) {
  return Float32Array.from(bytes, (value) => low + (value / 255) * (high - low));
}

/** RGBA bytes of a canvas -> bytes (C, H, W); grey as ITU-R BT.601 weighs colours. */
export function planesFromRgba(rgba, channels) {
  const area = rgba.length / 4;
  const planes = new Uint8Array(channels * area);
  for (let pixel = 0; pixel < area; pixel += 1) {
    const [red, green, blue] = rgba.subarray(4 * pixel, 4 * pixel + 3);
    if (channels === 1) planes[pixel] = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
    else [red, green, blue].forEach((value, plane) => { planes[plane * area + pixel] = value; });
  }
  return planes;
}

/** Label ids (H, W) -> one-hot floats (classes, H, W); all zeros where an id is no class. */
export function oneHot(ids, classes) {
  const maps = new Float32Array(classes * ids.length);
  ids.forEach((id, pixel) => { if (id < classes) maps[id * ids.length + pixel] = 1; });
  return maps;
}

/** Label ids (H, W) -> ImageData in the classes' colours `#rrggbb`; white where an id is no class. */
export function colourLabels(ids, [height, width], colours) {
  const image = new ImageData(width, height);
  const bytes = colours.map((text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
  ids.forEach((id, pixel) => image.data.set([...(bytes[id] ?? [255, 255, 255]), 255], 4 * pixel));
  return image;
}

/** Difference of two pictures: around grey, enlarged `gain` times; and its mean and largest size, of 255. */
export function difference(first, second, gain) {
  const image = new ImageData(first.width, first.height);
  let sum = 0;
  let largest = 0;
  for (let at = 0; at < image.data.length; at += 1) {
    const apart = second.data[at] - first.data[at];
    image.data[at] = at % 4 === 3 ? 255 : 128 + gain * apart;
    sum += Math.abs(apart);
    largest = Math.max(largest, Math.abs(apart));
  }
  return { image, mean: sum / (3 * first.width * first.height), largest };
}

/** Put pixels on a canvas; small pictures are shown with visible pixels. */
export function draw(canvas, image) {
  if (canvas.width !== image.width || canvas.height !== image.height) {
    Object.assign(canvas, { width: image.width, height: image.height });
    canvas.classList.toggle('coarse', Math.max(image.width, image.height) <= 128);
  }
  canvas.getContext('2d').putImageData(image, 0, 0);
}
