// In a frame of another page: ?part=paths or ?part=activations shows one part alone. It tells the
// page around it its height, and takes its colours.

const part = new URLSearchParams(location.search).get("part");
if (["paths", "activations"].includes(part)) {
  document.documentElement.dataset.part = part;
  addEventListener("message", ({ data }) => {
    if (["light", "dark"].includes(data?.theme)) document.documentElement.dataset.theme = data.theme;
  });
  new ResizeObserver(() => {
    parent.postMessage({ part, height: document.body.scrollHeight }, "*");
  }).observe(document.body);
}
