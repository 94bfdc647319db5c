// Parts of the page: elements, numbers as text, sliders.

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
    value: (at) => (zero && at === 0 ? 0 : Number((low * (high / low) ** at).toPrecision(3))),
    at: (value) => (value > 0 ? Math.log(value / low) / Math.log(high / low) : 0),
  }),
  // for what is kept from step to step: 0, 0.9, 0.99, 0.999, 0.9999 are equally far apart
  share: () => ({
    value: (at) => Number((1 - Number((10 ** (-4 * at)).toPrecision(3))).toFixed(7)),
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
  const move = (value) => {
    range.value = Math.round(Math.min(Math.max(scale.at(value), 0), 1) * positions);
  };
  const tell = (value) => range.setAttribute("aria-valuetext", short(value, 6));
  const write = (value) => {
    tell(value);
    number.value = Number(value.toPrecision(6));
    number.removeAttribute("aria-invalid");
  };
  const set = (value) => { move(value); write(value); };
  range.addEventListener("input", () => {
    const value = scale.value(range.value / positions);
    write(value); // without moving it: a rounded value could take an arrow key's step back
    change(value);
  });
  number.addEventListener("input", () => {
    const value = number.value === "" ? NaN : Number(number.value);
    const fits = isWithin(value, bounds);
    number.setAttribute("aria-invalid", !fits);
    if (!fits) return;
    move(value);
    tell(value);
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
