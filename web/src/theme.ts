import { batch, computed, signal } from "@preact/signals";

/** Theme is what the reader chose; system follows the machine. */
type Theme = "system" | "light" | "dark";

const key = "lzstock.theme"; // public/theme.js reads it before the page is drawn
const machine = matchMedia("(prefers-color-scheme: dark)");
const machineDark = signal(machine.matches);
const theme = signal<Theme>(remembered());
const isDark = (choice: Theme, system: boolean) => (choice === "system" ? system : choice === "dark");

export const dark = computed(() => isDark(theme.value, machineDark.value));

machine.addEventListener("change", (e) => show(theme.value, e.matches));

function remembered(): Theme {
  try {
    const v = localStorage.getItem(key);
    return v === "light" || v === "dark" ? v : "system";
  } catch {
    return "system";
  }
}

/** show has the colours there before anybody hears of them. */
function show(choice: Theme, system: boolean): void {
  document.documentElement.dataset.theme = isDark(choice, system) ? "dark" : "light";
  batch(() => {
    theme.value = choice;
    machineDark.value = system;
  });
}

/** flipTheme shows the other theme; where that is the machine's own, it is followed again. */
export function flipTheme(): void {
  const want = dark.value ? "light" : "dark";
  const choice = machineDark.value === (want === "dark") ? "system" : want;
  show(choice, machineDark.value);
  try {
    if (choice === "system") localStorage.removeItem(key);
    else localStorage.setItem(key, choice);
  } catch {
    // Then it lasts until the page is closed.
  }
}
