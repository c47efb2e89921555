// SPDX-License-Identifier: Apache-2.0
// Deflated data back to bytes: by the browser, or by hand where it cannot (RFC 1950, 1951).

function bytesOfBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; ++i) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function inflate(bytes, byHand) {
  if (byHand || typeof DecompressionStream === "undefined") return inflateByHand(bytes);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function inflateByHand(source) {
  let at = 2;  // past zlib's header
  let held = 0, heldBits = 0;
  let out = new Uint8Array(Math.max(1024, source.length * 4)), size = 0;

  function bits(count) {
    while (heldBits < count) {
      held |= source[at++] << heldBits;
      heldBits += 8;
    }
    const value = held & ((1 << count) - 1);
    held >>>= count;
    heldBits -= count;
    return value;
  }
  function room(count) {
    if (size + count <= out.length) return;
    const larger = new Uint8Array(Math.max(out.length * 2, size + count));
    larger.set(out);
    out = larger;
  }
  // Canonical codes: how many of each length, and the symbols by length.
  function codes(lengths) {
    const counts = new Uint16Array(16), starts = new Uint16Array(16);
    for (const length of lengths) ++counts[length];
    counts[0] = 0;
    for (let i = 1; i < 16; ++i) starts[i] = starts[i - 1] + counts[i - 1];
    const symbols = new Uint16Array(lengths.length);
    lengths.forEach((length, symbol) => { if (length) symbols[starts[length]++] = symbol; });
    return { counts, symbols };
  }
  function symbol({ counts, symbols }) {
    let code = 0, first = 0, index = 0;
    for (let length = 1; length < 16; ++length) {
      code |= bits(1);
      if (code - first < counts[length]) return symbols[index + code - first];
      index += counts[length];
      first = (first + counts[length]) << 1;
      code <<= 1;
    }
    throw new Error("the data of this report is damaged");
  }

  const lengthBase = [], distanceBase = [];
  const lengthExtra = i => (i < 8 || i === 28 ? 0 : (i - 4) >> 2);
  const distanceExtra = i => (i < 4 ? 0 : (i - 2) >> 1);
  for (let i = 0, base = 3; i < 29; base += 1 << lengthExtra(i++)) lengthBase.push(base);
  lengthBase[28] = 258;
  for (let i = 0, base = 1; i < 30; base += 1 << distanceExtra(i++)) distanceBase.push(base);
  const fixed = [...Array(288).keys()].map(i => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8));

  for (let last = 0; !last;) {
    last = bits(1);
    const kind = bits(2);
    if (kind === 0) {
      heldBits = held = 0;
      const count = source[at] | source[at + 1] << 8;
      room(count);
      out.set(source.subarray(at + 4, at + 4 + count), size);
      size += count;
      at += 4 + count;
      continue;
    }
    let literals, distances;
    if (kind === 1) {
      literals = codes(fixed);
      distances = codes(Array(30).fill(5));
    } else {
      const literalCount = bits(5) + 257, distanceCount = bits(5) + 1, metaCount = bits(4) + 4;
      const order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
      const meta = Array(19).fill(0);
      for (let i = 0; i < metaCount; ++i) meta[order[i]] = bits(3);
      const metaCodes = codes(meta), lengths = [];
      while (lengths.length < literalCount + distanceCount) {
        const next = symbol(metaCodes);
        if (next < 16) lengths.push(next);
        else {
          const value = next === 16 ? lengths[lengths.length - 1] : 0;
          const count = next === 16 ? 3 + bits(2) : next === 17 ? 3 + bits(3) : 11 + bits(7);
          for (let i = 0; i < count; ++i) lengths.push(value);
        }
      }
      literals = codes(lengths.slice(0, literalCount));
      distances = codes(lengths.slice(literalCount));
    }
    for (let next = symbol(literals); next !== 256; next = symbol(literals)) {
      if (next < 256) {
        room(1);
        out[size++] = next;
        continue;
      }
      const length = lengthBase[next - 257] + bits(lengthExtra(next - 257));
      const code = symbol(distances);
      const distance = distanceBase[code] + bits(distanceExtra(code));
      room(length);
      for (let i = 0; i < length; ++i, ++size) out[size] = out[size - distance];
    }
  }
  return out.subarray(0, size);
}
