// Before anything is drawn: the theme that the reader chose, if any.
try {
  const theme = localStorage.getItem("lzstock.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden: the machine's theme serves.
}
