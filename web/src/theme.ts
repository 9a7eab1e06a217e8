import { computed, signal } from "@preact/signals";

/** Theme is what the reader chose; system follows the machine. */
export type Theme = "system" | "light" | "dark";

const key = "lzstock.theme"; // public/theme.js reads it before the page is drawn
const machine = matchMedia("(prefers-color-scheme: dark)");
const machineDark = signal(machine.matches);
machine.addEventListener("change", (e) => {
  machineDark.value = e.matches;
});

export const theme = signal<Theme>(remembered());
export const dark = computed(() => (theme.value === "system" ? machineDark.value : theme.value === "dark"));

function remembered(): Theme {
  const v = document.documentElement.dataset.theme;
  return v === "light" || v === "dark" ? v : "system";
}

/** flipTheme shows the other theme; where that is the machine's own, it is followed again. */
export function flipTheme(): void {
  const want = dark.value ? "light" : "dark";
  theme.value = machineDark.value === (want === "dark") ? "system" : want;
  const root = document.documentElement;
  if (theme.value === "system") delete root.dataset.theme;
  else root.dataset.theme = theme.value;
  try {
    if (theme.value === "system") localStorage.removeItem(key);
    else localStorage.setItem(key, theme.value);
  } catch {
    // Then it lasts until the page is closed.
  }
}
