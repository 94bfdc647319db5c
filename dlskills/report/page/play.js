{
  const find = (id) => document.getElementById(id);
  const svg = (name, attributes = {}, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const colour = (i) => `var(--colour-${i % 6})`;
  const short = (value, digits = 3) => {
    if (!Number.isFinite(value)) return String(value);
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(digits - 1);
    return String(Number(value.toPrecision(digits)));
  };

  // Sliders. A scale turns positions from 0 to 1 into values, and back.
  const SCALES = {
    linear: ({ low, high }) => ({
      value: (at) => Number((low + at * (high - low)).toPrecision(3)),
      at: (value) => (value - low) / (high - low),
    }),
    count: ({ low, high }) => ({
      value: (at) => Math.round(low + at * (high - low)),
      at: (value) => (value - low) / (high - low),
      positions: high - low,
    }),
    log: ({ low, high, zero }) => ({
      value: (at) => (zero && at === 0 ? 0 : Number((low * (high / low) ** at).toPrecision(2))),
      at: (value) => (value > 0 ? Math.log(value / low) / Math.log(high / low) : 0),
    }),
    // for what is kept from step to step: 0, 0.9, 0.99, 0.999, 0.9999 are equally far apart
    share: () => ({
      value: (at) => Number((1 - Number((10 ** (-4 * at)).toPrecision(2))).toFixed(7)),
      at: (value) => -Math.log10(1 - value) / 4,
    }),
  };
  const isWithin = (value, { at_least, above, below, whole }) => Number.isFinite(value)
    && !(value < at_least) && !(value <= above) && !(value >= below)
    && (!whole || Number.isInteger(value));

  const attach = (box, settings, change) => {
    const [range, number] = box.querySelectorAll("input");
    const scale = SCALES[settings.scale](settings);
    const bounds = settings.bounds || {};
    const positions = scale.positions || 400;
    Object.assign(range, { min: 0, max: positions, step: 1 });
    const show = (value) => {
      range.value = Math.round(Math.min(Math.max(scale.at(value), 0), 1) * positions);
      range.setAttribute("aria-valuetext", short(value, 6));
    };
    const set = (value) => {
      show(value);
      number.value = Number(value.toPrecision(6));
      number.removeAttribute("aria-invalid");
    };
    range.addEventListener("input", () => {
      const value = scale.value(range.value / positions);
      set(value);
      change(value);
    });
    number.addEventListener("input", () => {
      const value = number.value === "" ? NaN : Number(number.value);
      const fits = isWithin(value, bounds);
      number.setAttribute("aria-invalid", !fits);
      if (!fits) return;
      show(value);
      change(value);
    });
    return set;
  };

  const makeSlider = (id, label) => {
    const box = document.createElement("div");
    box.className = "slider";
    const words = document.createElement("label");
    Object.assign(words, { id: `${id}-label`, htmlFor: `${id}-range`, textContent: label });
    const range = Object.assign(document.createElement("input"), { type: "range", id: `${id}-range` });
    const number = Object.assign(document.createElement("input"), { type: "number", id: `${id}-number`, step: "any" });
    number.setAttribute("aria-labelledby", words.id);
    box.append(words, range, number);
    return box;
  };
  const options = (select, names) => {
    names.forEach((name, i) => select.add(new Option(name, i)));
  };

  // Paths

  const state = { rule: 0, surface: Object.keys(SURFACES)[0], start: [], count: 30, values: [], kept: [] };
  const surface = () => SURFACES[state.surface];
  const rule = () => RULES[state.rule];
  const remembered = new Map(); // values by rule and surface

  const defaults = () => rule().numbers.map(({ name, value }) => (
    name === "lr" && !Array.isArray(value) ? rule().rates[state.surface] ?? value : value
  ));

  const showHyperparameters = () => {
    const key = `${state.rule} ${state.surface}`;
    if (!remembered.has(key)) remembered.set(key, defaults());
    const values = state.values = remembered.get(key);
    const fields = find("hyperparameters");
    fields.replaceChildren(fields.querySelector("legend"));
    rule().numbers.forEach((settings, i) => {
      if (!settings.scale) {
        const words = document.createElement("p");
        words.className = "hint";
        words.append(`${settings.name}: `, find("scheduled-words").content.cloneNode(true));
        fields.append(words);
        return;
      }
      const box = makeSlider(`number-${settings.name}`, settings.name);
      fields.append(box);
      attach(box, settings, (value) => { values[i] = value; drawPath(); })(values[i]);
    });
  };

  let setStart = [];
  const showStart = () => {
    const [left, right, low, high] = surface().window;
    const ends = [[left, right], [low, high]];
    setStart = ["start-x", "start-y"].map((id, axis) => {
      const fresh = find(id).cloneNode(true); // without the listeners of another surface
      find(id).replaceWith(fresh);
      const [from, to] = ends[axis];
      const set = attach(fresh, { scale: "linear", low: from, high: to, bounds: {} }, (value) => {
        state.start[axis] = value;
        drawPath();
      });
      set(state.start[axis]);
      return set;
    });
  };

  const chooseSurface = () => {
    state.start = [...surface().start];
    state.kept = [];
    heights = null;
    showStart();
    showHyperparameters();
    showKept();
    drawAll();
  };

  // The plot, in pixels of the screen
  let heights = null;
  let frame = null;
  const MARGIN = { left: 36, right: 10, top: 8, bottom: 26 };

  const layOut = () => {
    const [left, right, low, high] = surface().window;
    const room = Math.max(find("plot-box").clientWidth, 200);
    const inner = room - MARGIN.left - MARGIN.right;
    const scale = Math.min(inner / (right - left), (room < 480 ? 240 : 480) / (high - low));
    const width = scale * (right - left);
    const height = scale * (high - low);
    frame = {
      width, height,
      x: (value) => MARGIN.left + (value - left) * scale,
      y: (value) => MARGIN.top + (high - value) * scale,
      point: (x, y) => [left + (x - MARGIN.left) / scale, high - (y - MARGIN.top) / scale],
    };
    const total = [width + MARGIN.left + MARGIN.right, height + MARGIN.top + MARGIN.bottom];
    find("plot").setAttribute("viewBox", `0 0 ${total.join(" ")}`);
    find("plot").style.setProperty("--width", `${total[0]}px`);
  };

  const ticks = (low, high, count) => {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) {
      found.push(Number((i * step).toPrecision(6)));
    }
    return found;
  };

  const ground = () => {
    const group = svg("g");
    const [left, right, low, high] = surface().window;
    const columns = 161;
    const rows = Math.round((columns - 1) * (high - low) / (right - left)) + 1;
    const x = (column) => left + (right - left) * column / (columns - 1);
    const y = (row) => low + (high - low) * row / (rows - 1);
    if (!heights) {
      heights = new Float64Array(columns * rows);
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          [heights[row * columns + column]] = surface().value(x(column), y(row));
        }
      }
    }
    const lines = surface().levels.flatMap((level) => contour(heights, columns, rows, level));
    const d = lines.map((line) => line
      .map(([column, row], i) => `${"ML"[i]}${frame.x(x(column)).toFixed(1)} ${frame.y(y(row)).toFixed(1)}`)
      .join("")).join("");
    group.append(svg("path", { d, class: "contour" }));
    const { width, height } = frame;
    group.append(svg("rect", { x: MARGIN.left, y: MARGIN.top, width, height, class: "frame" }));
    for (const value of ticks(left, right, width / 60)) {
      group.append(svg("text", { x: frame.x(value), y: MARGIN.top + height + 17, class: "middle" }, value));
    }
    for (const value of ticks(low, high, height / 40)) {
      group.append(svg("text", { x: MARGIN.left - 5, y: frame.y(value) + 4, class: "end" }, value));
    }
    if (surface().minimum) {
      const [atX, atY] = [frame.x(surface().minimum[0]), frame.y(surface().minimum[1])];
      group.append(svg("path", {
        d: `M${atX - 7} ${atY}h14M${atX} ${atY - 7}v14`, class: "minimum",
      }));
    }
    return group;
  };

  const line = (path, i, dashed) => {
    const group = svg("g", { style: `color: ${colour(i)}`, "clip-path": "url(#window)" });
    // far outside, coordinates would be more than a browser can draw
    const near = ([x, y]) => [frame.x(x), frame.y(y)].map((value) => Math.min(Math.max(value, -1e5), 1e5).toFixed(1));
    const points = path.map(near);
    group.append(svg("polyline", {
      points: points.join(" "), class: "path", ...(dashed ? { "stroke-dasharray": dash(i) } : {}),
    }));
    if (!dashed) points.forEach(([cx, cy]) => group.append(svg("circle", { cx, cy, r: 3 })));
    return group;
  };
  const dash = (i) => ["7 3", "2 3", "10 3 2 3", "14 4", "6 2 1 2 1 2"][i % 5];

  const drawAll = () => {
    layOut();
    const clip = svg("clipPath", { id: "window" });
    const { width, height } = frame;
    clip.append(svg("rect", { x: MARGIN.left, y: MARGIN.top, width, height }));
    const paths = svg("g", { id: "drawn" });
    find("plot").replaceChildren(clip, ground(), paths);
    drawPath();
  };

  const drawPath = () => {
    const drawn = find("drawn");
    const path = follow(rule(), state.values, surface(), state.start, state.count);
    const [x, y] = [frame.x(state.start[0]) - 5, frame.y(state.start[1]) - 5];
    drawn.replaceChildren(
      ...state.kept.map((one) => line(one.path, one.look, true)),
      line(path, 0, false),
      svg("rect", { x, y, width: 10, height: 10, class: "start", "clip-path": "url(#window)" }),
    );
    const last = path[path.length - 1];
    let length = 0;
    for (let i = 1; i < path.length; i++) {
      length += Math.hypot(path[i][0] - path[i - 1][0], path[i][1] - path[i - 1][1]);
    }
    const [left, right, low, high] = surface().window;
    const isOutside = path.some(([px, py]) => px < left || px > right || py < low || py > high);
    find("last-point").textContent = `(${last.map((value) => short(value, 4)).join(", ")})`;
    find("height").textContent = short(surface().value(...last)[0], 4);
    find("path-length").textContent = short(length, 4);
    const grows = path.length < state.count || last.some((value) => Math.abs(value) > 1e4);
    find("diverged").hidden = !grows;
    find("outside").hidden = grows || !isOutside;
  };

  const words = () => {
    const told = rule().numbers
      .map(({ name, value }, i) => [name, value, state.values[i]])
      .filter(([name, value, now]) => !Array.isArray(value) && (name === "lr" || now !== value))
      .map(([name, , now]) => `${name} = ${short(now, 6)}`);
    return [rule().name, ...told].join(", ");
  };

  const showKept = () => {
    find("kept").replaceChildren(...state.kept.map((one) => {
      const item = document.createElement("li");
      const sample = svg("svg", { viewBox: "0 0 36 10", class: "sample", style: `color: ${colour(one.look)}`, "aria-hidden": "true" });
      sample.append(svg("path", { d: "M0 5H36", class: "path", "stroke-dasharray": dash(one.look) }));
      const button = Object.assign(document.createElement("button"), { type: "button" });
      const name = document.createElement("span");
      name.id = `kept-${one.look}`;
      name.textContent = one.words;
      button.id = `remove-${one.look}`;
      button.append(find("remove-words").content.cloneNode(true));
      button.setAttribute("aria-labelledby", `${button.id} ${name.id}`);
      button.addEventListener("click", () => {
        state.kept = state.kept.filter((other) => other !== one);
        showKept();
        drawPath();
        find("keep").focus();
      });
      item.append(sample, name, button);
      return item;
    }));
    find("keep").disabled = state.kept.length === 5;
  };

  find("keep").addEventListener("click", () => {
    const look = [1, 2, 3, 4, 5].find((i) => state.kept.every((one) => one.look !== i));
    if (look === undefined) return;
    const path = follow(rule(), state.values, surface(), state.start, state.count);
    state.kept.push({ path, look, words: words() });
    showKept();
    drawPath();
  });
  find("reset").addEventListener("click", () => {
    remembered.delete(`${state.rule} ${state.surface}`);
    state.start = [...surface().start];
    state.start.forEach((value, axis) => setStart[axis](value));
    state.count = 30;
    setCount(30);
    showHyperparameters();
    drawPath();
  });
  find("plot").addEventListener("pointerdown", (event) => {
    const box = find("plot").getBoundingClientRect();
    const ratio = (frame.width + MARGIN.left + MARGIN.right) / box.width;
    const point = frame.point((event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio);
    const [left, right, low, high] = surface().window;
    if (point[0] < left || point[0] > right || point[1] < low || point[1] > high) return;
    state.start = point.map((value) => Number(value.toPrecision(3)));
    state.start.forEach((value, axis) => setStart[axis](value));
    drawPath();
  });

  options(find("rule"), RULES.map((one) => one.name));
  options(find("surface"), Object.values(SURFACES).map((one) => one.formula));
  find("rule").addEventListener("change", () => {
    state.rule = Number(find("rule").value);
    showHyperparameters();
    drawPath();
  });
  find("surface").addEventListener("change", () => {
    state.surface = Object.keys(SURFACES)[find("surface").value];
    chooseSurface();
  });
  const counts = { scale: "count", low: 2, high: STEPS, bounds: { at_least: 2, below: STEPS + 1, whole: true } };
  const setCount = attach(find("points"), counts, (value) => { state.count = value; drawPath(); });
  setCount(state.count);

  // Histograms

  const INPUTS = 300;
  const BINS = 30;
  const network = { activation: "sigmoid", spread: 1, depth: 5, seed: 1, drawn: 0 };
  const panels = [...document.querySelectorAll(".layer")];

  const drawNetwork = () => {
    if (network.drawn === network.seed) return;
    network.drawn = network.seed;
    network.inputs = normals(network.seed * 1000, INPUTS * UNITS);
    network.draws = Array.from({ length: DEEPEST }, (_, i) => normals(network.seed * 1000 + i + 1, UNITS * UNITS));
  };

  const range = (values, ends) => {
    if (ends) return ends;
    const sorted = values.filter((value) => value !== 0 && Number.isFinite(value)).sort();
    if (!sorted.length) return [0, 1];
    const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
    const [low, high] = [Math.min(at(0.002), 0), Math.max(at(0.998), 0)];
    return low < high ? [low, high] : [0, 1];
  };

  const histogram = (values, ends) => {
    const counts = new Array(BINS).fill(0);
    const [low, high] = ends;
    for (const value of values) {
      const bin = Math.floor((value - low) / (high - low) * BINS);
      if (value >= low && value <= high) counts[Math.min(bin, BINS - 1)] += 1 / values.length;
    }
    return counts;
  };

  const drawLayer = (panel, values, activation) => {
    const bounded = activation.ends !== null;
    const ends = range(values, activation.ends);
    const bars = histogram(bounded ? values : values.map((value) => (value === 0 ? NaN : value)), ends);
    const most = Math.max(...bars, 1e-9);
    const [width, height] = [Math.max(panel.clientWidth, 100), 90];
    const step = (width - 2) / BINS;
    const picture = panel.querySelector("svg");
    picture.setAttribute("viewBox", `0 0 ${width} ${height + 20}`);
    picture.style.setProperty("--width", `${width}px`);
    const d = bars.map((share, i) => {
      const high = share / most * (height - 18);
      return `M${(1 + i * step).toFixed(2)} ${height}v${(-high).toFixed(2)}h${(step - 0.6).toFixed(2)}V${height}z`;
    }).join("");
    picture.replaceChildren(
      svg("path", { d, fill: colour(0) }),
      svg("path", { d: `M1 ${height}h${width - 2}`, class: "frame" }),
      svg("text", { x: 1, y: 11 }, `${short(100 * most, 2)}%`),
      svg("text", { x: 1, y: height + 16 }, short(ends[0], 2)),
      svg("text", { x: width - 1, y: height + 16, class: "end" }, short(ends[1], 2)),
    );
    const found = describe(values);
    const tenth = bounded ? (ends[1] - ends[0]) / 10 : 0;
    const share = bounded
      ? values.filter((value) => value < ends[0] + tenth || value > ends[1] - tenth).length / values.length
      : found.zeros;
    panel.querySelector(".mean").textContent = short(found.mean, 2);
    panel.querySelector(".std").textContent = short(found.std, 2);
    panel.querySelector(".share").textContent = `${short(100 * share, 2)}%`;
    panel.querySelector(".zeros").hidden = bounded;
    panel.querySelector(".saturated").hidden = !bounded;
  };

  const drawLayers = () => {
    drawNetwork();
    const activation = ACTIVATIONS[network.activation];
    const draws = network.draws.slice(0, network.depth);
    const layers = propagate(activation.apply, network.inputs, draws, UNITS, network.spread);
    panels.forEach((panel, i) => {
      panel.hidden = i >= layers.length;
      if (i < layers.length) drawLayer(panel, layers[i], activation);
    });
    find("bounded-note").hidden = activation.ends === null;
    find("positive-note").hidden = activation.ends !== null;
  };

  options(find("activation"), Object.values(ACTIVATIONS).map((one) => one.label));
  const names = Object.keys(ACTIVATIONS);
  find("activation").value = names.indexOf(network.activation);
  find("activation").addEventListener("change", () => {
    network.activation = names[find("activation").value];
    drawLayers();
  });
  const spreads = { scale: "log", low: 1e-3, high: 10, bounds: { above: 0 } };
  const setSpread = attach(find("spread"), spreads, (value) => { network.spread = value; drawLayers(); });
  const choices = { "std 1": 1, "std 0.01": 0.01, ...SPREADS };
  for (const [name, value] of Object.entries(choices)) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
    button.addEventListener("click", () => {
      network.spread = value;
      setSpread(value);
      drawLayers();
    });
    find("spreads").append(button, " ");
  }
  setSpread(network.spread);
  const depths = { scale: "count", low: 1, high: DEEPEST, bounds: { at_least: 1, below: DEEPEST + 1, whole: true } };
  attach(find("depth"), depths, (value) => { network.depth = value; drawLayers(); })(network.depth);
  find("draw-again").addEventListener("click", () => { network.seed += 1; drawLayers(); });

  chooseSurface();
  drawLayers();
  addEventListener("resize", () => { drawAll(); drawLayers(); });
}
