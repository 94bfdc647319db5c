// Parts of the page to play with, in frames: each as high as its content, in the site's colours.
const frames = () => [...document.querySelectorAll("iframe.play")];
const colour = (frame) => {
  const theme = document.body.dataset.mdColorScheme === "slate" ? "dark" : "light";
  frame.contentWindow.postMessage({ theme }, "*");
};
addEventListener("message", ({ source, data }) => {
  const frame = frames().find((one) => one.contentWindow === source);
  if (!frame || !Number.isFinite(data?.height)) return;
  frame.style.height = `${Math.ceil(data.height)}px`;
  colour(frame);
});
new MutationObserver(() => frames().forEach(colour))
  .observe(document.body, { attributes: true, attributeFilter: ["data-md-color-scheme"] });
