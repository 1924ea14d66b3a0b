// What the person says of an answer: the truth, if known, and whether it helped.

import { ask } from "./api.js";
import { make } from "./dom.js";

function choice(name, legend, options) {
  const radio = (value) => make("input", { type: "radio", name, value });
  const labels = options.map(([value, words]) => make("label", { class: "option" }, radio(value), words));
  return make("fieldset", {}, make("legend", {}, legend), make("div", { class: "row" }, ...labels));
}

// What the form says, without what it does not say; null if it says nothing.
export function said(form) {
  const data = new FormData(form);
  const value = {};
  if (data.get("truth") === "1" || data.get("truth") === "0") value.label = Number(data.get("truth"));
  if (data.has("helped")) value.satisfied = data.get("helped") === "yes";
  return Object.keys(value).length ? value : null;
}

export function feedback(answer) {
  const told = make("p", { role: "status", class: "told" });
  const button = make("button", { type: "submit" }, "Send");
  const form = make(
    "form",
    { class: "feedback" },
    choice("truth", "What is the truth, as far as you know?", [
      ["0", "Unaltered"],
      ["1", "Manipulated"],
      ["", "I do not know"],
    ]),
    choice("helped", "Did this answer help you?", [
      ["yes", "Yes"],
      ["no", "No"],
    ]),
    make("div", { class: "row" }, button, told),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = said(form);
    if (value === null) {
      told.textContent = "Choose an answer to one of the questions first.";
      return;
    }
    button.disabled = true;
    told.textContent = "";
    try {
      await ask("v1/feedback", { value: { id: answer.id, ...value } });
      told.textContent = "Thank you, that is noted. You can change it and send it again.";
    } catch (refusal) {
      told.textContent = refusal.message;
    }
    button.disabled = false;
    button.focus();
  });
  return make("section", { class: "card" }, make("h3", {}, "Was this right?"), form);
}
