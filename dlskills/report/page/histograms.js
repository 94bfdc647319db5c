// The second part: histograms of activations, layer by layer.

const INPUTS = 300;
const BINS = 30;
const network = { activation: FIRST, spread: 1, depth: 5, seed: 1, drawn: 0 };
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

drawLayers();
addEventListener("resize", drawLayers);
