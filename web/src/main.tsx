import { render } from "preact";
import { inspect } from "./inspect";
import { Model } from "./model";
import "./styles/page.css";
import "./styles/list.css";
import "./styles/panels.css";
import { App } from "./ui/app";
import { Provide } from "./ui/context";

const model = new Model();
inspect(model);
render(
  <Provide value={model}>
    <App />
  </Provide>,
  document.getElementById("page") as HTMLElement,
);
void model.start();
