// What is computed, apart from the page. RULES, SURFACES and ACTIVATIONS are generated.

// The points of a path, as dlskills.experiments.optimizer_paths follows it. `values` are those of
// the rule's hyperparameters; for a schedule, an array with one value per step.
function follow(rule, values, surface, start, count) {
  const path = [];
  const slots = start.map(() => new Array(rule.slots).fill(0));
  const all = rule.unrolled
    ? rule.coefficients(...values.map((value) => (Array.isArray(value) ? NaN : value)))
    : null;
  let point = [...start];
  for (let step = 1; step <= count; step++) {
    if (!point.every((value) => Math.abs(value) < 1e100)) break;
    path.push(point);
    const now = values.map((value) => (Array.isArray(value) ? value[step - 1] : value));
    const width = all ? all.length / STEPS : 0;
    const numbers = all
      ? all.slice(width * (step - 1), width * step)
      : rule.coefficients(...now, step);
    const gradient = surface.gradient(...point);
    point = point.map((value, i) => {
      const [next, ...kept] = rule.update(value, gradient[i], ...slots[i], ...numbers);
      slots[i] = kept;
      return next;
    });
  }
  return path;
}

// Uniform numbers in (0, 1), the same for a seed in every browser (mulberry32).
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

// Standard normal numbers (Box and Muller, 1958).
function normals(seed, count) {
  const draw = uniform(seed);
  const values = new Float64Array(count);
  for (let i = 0; i < count; i += 2) {
    const size = Math.sqrt(-2 * Math.log(draw()));
    const angle = 2 * Math.PI * draw();
    values[i] = size * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = size * Math.sin(angle);
  }
  return values;
}

// The activations of each layer. `inputs` and each of `draws` hold a matrix row by row; the
// weights are the draws times `spread`, and biases are 0.
function propagate(apply, inputs, draws, units, spread) {
  const rows = inputs.length / units;
  const layers = [];
  let x = inputs;
  for (const weights of draws) {
    const y = new Float64Array(rows * units);
    for (let row = 0; row < rows; row++) {
      const from = row * units;
      for (let k = 0; k < units; k++) {
        const value = x[from + k] * spread;
        for (let j = 0; j < units; j++) y[from + j] += value * weights[k * units + j];
      }
    }
    for (let i = 0; i < y.length; i++) y[i] = apply(y[i])[0];
    layers.push(y);
    x = y;
  }
  return layers;
}

function describe(values) {
  let sum = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  let squares = 0;
  let zeros = 0;
  for (const value of values) {
    squares += (value - mean) ** 2;
    zeros += value === 0;
  }
  return { mean, std: Math.sqrt(squares / values.length), zeros: zeros / values.length };
}

// The segments of a contour line on a grid of heights, row by row (marching squares).
function contour(heights, columns, rows, level) {
  const segments = [];
  const between = (a, b) => (level - a) / (b - a);
  for (let row = 0; row + 1 < rows; row++) {
    for (let column = 0; column + 1 < columns; column++) {
      const i = row * columns + column;
      const corners = [heights[i], heights[i + 1], heights[i + columns + 1], heights[i + columns]];
      const places = [[0, 0], [1, 0], [1, 1], [0, 1]];
      const crossings = [];
      for (let k = 0; k < 4; k++) {
        const next = (k + 1) % 4;
        if (corners[k] < level === corners[next] < level) continue;
        const share = between(corners[k], corners[next]);
        crossings.push([0, 1].map(
          (axis) => [column, row][axis]
            + places[k][axis] + share * (places[next][axis] - places[k][axis]),
        ));
      }
      for (let k = 0; k + 1 < crossings.length; k += 2) {
        segments.push([crossings[k], crossings[k + 1]]);
      }
    }
  }
  return segments;
}
