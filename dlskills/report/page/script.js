"use strict";
{
  const root = document.documentElement;
  // a page that was opened as a file may have no storage
  const keep = (key, value) => { try { localStorage.setItem("dlskills-" + key, value); } catch {} };
  const kept = (key) => { try { return localStorage.getItem("dlskills-" + key); } catch { return null; } };
  const short = (tag) => tag.split("-")[0];
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");

  document.addEventListener("DOMContentLoaded", () => {
    const buttons = [...document.querySelectorAll("[data-language]")];
    const find = (name) => buttons.find((button) => short(button.dataset.language) === name);

    const speak = (button) => {
      root.lang = button.dataset.language;
      document.title = button.dataset.title;
      for (const other of buttons) other.setAttribute("aria-pressed", other === button);
    };
    const follow = () => { const button = find(location.hash.slice(1)); if (button) speak(button); };
    for (const button of buttons) {
      button.addEventListener("click", () => {
        const name = short(button.dataset.language);
        speak(button);
        keep("language", name);
        // the address keeps the language unless it names a section
        if (!document.getElementById(location.hash.slice(1))) history.replaceState(null, "", "#" + name);
      });
    }
    if (buttons.length) {
      speak(find(kept("language")) || find(short(navigator.language)) || buttons[0]);
      follow();
      addEventListener("hashchange", follow);
    }

    const dark = document.querySelector("[data-dark]");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : wantsDark.matches);
    const show = () => dark.setAttribute("aria-pressed", isDark());
    dark.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      keep("theme", root.dataset.theme);
      show();
    });
    wantsDark.addEventListener("change", show);
    if (["light", "dark"].includes(kept("theme"))) root.dataset.theme = kept("theme");
    show();
    document.querySelector(".controls").hidden = false;

    // what can be scrolled says so, and takes the keyboard; the rest does not
    const measure = () => {
      for (const box of document.querySelectorAll(".scroll")) {
        const over = box.scrollWidth > box.clientWidth + 1;
        box.classList.toggle("over", over);
        if (over) box.tabIndex = 0; else box.removeAttribute("tabindex");
      }
    };
    addEventListener("resize", measure);
    for (const button of buttons) button.addEventListener("click", measure);
    measure();
  });
}
