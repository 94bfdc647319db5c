// The first part: the path of a rule over a surface.

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

chooseSurface();
addEventListener("resize", drawAll);
