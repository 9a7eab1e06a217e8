import { age, compact } from "../data/format";
import { dark, flipTheme } from "../theme";
import { useModel } from "./context";
import { Moon, Sun } from "./icons";

const recordedDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

/** origin names what kind of prices these are, where it is known. */
function origin(simulated: boolean, recorded: number): [string, string] | undefined {
  if (simulated) return ["Simulated data", "Made up by LZStock's simulator: no price that you see is real"];
  if (!recorded) return undefined;
  const late = Date.now() - recorded;
  if (late < 86_400_000) return [`${age(late)} late`, "These prices are shown late"];
  return [`Recorded data, ${recordedDay.format(recorded)}`, "A tape is played: these prices were made at that time"];
}

export function Header() {
  const model = useModel();
  const s = model.status.value;
  const badge = origin(s.simulated, s.recorded);
  return (
    <header class="top">
      <h1>
        <svg viewBox="0 0 18 18" width="18" height="18" aria-hidden="true" focusable="false">
          <path class="wick" d="M4 2v14M9 4v11M14 1.5v11" />
          <path class="red" d="M2.5 5h3v6h-3z" />
          <path class="green" d="M7.5 7h3v5h-3zM12.500 4h3v5h-3z" />
        </svg>
        <span class="word">LZStock</span>
      </h1>
      {badge && (
        <span class="badge" title={badge[1]}>
          {badge[0]}
        </span>
      )}
      <span class="spacer" />
      <button
        type="button"
        class="state"
        data-state={s.state}
        title={s.explanation || "Prices are current"}
        aria-label={`Connection: ${s.headline}. ${s.explanation}`}
        onClick={() => {
          model.tab.value = "connection";
        }}
      >
        <i class="dot" data-state={s.state} />
        <b>{s.headline}</b>
        <span class="num">{s.live ? `${compact(Math.round(s.rate))}/s` : age(s.age)}</span>
      </button>
      <button
        type="button"
        class="quiet-button"
        aria-label={dark.value ? "Use the light theme" : "Use the dark theme"}
        title="Light or dark (t)"
        onClick={flipTheme}
      >
        {dark.value ? <Sun /> : <Moon />}
      </button>
      <button
        type="button"
        class="quiet-button help-button"
        aria-label="Keys and help"
        title="Keys and help (?)"
        onClick={() => {
          model.helping.value = true;
        }}
      >
        ?
      </button>
    </header>
  );
}
