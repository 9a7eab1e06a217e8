// Before anything is drawn: the theme that the reader chose, or else the machine's.
let theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
try {
  const chosen = localStorage.getItem("lzstock.theme");
  if (chosen === "light" || chosen === "dark") theme = chosen;
} catch {
  // Storage may be forbidden: the machine's theme serves.
}
document.documentElement.dataset.theme = theme;
