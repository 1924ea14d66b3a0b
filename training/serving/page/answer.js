// An answer as a page: verdict, range, persons, their faces and scores over time, and what it does not mean.

import { gauge, openWords, overTime } from "./chart.js";
import { make } from "./dom.js";
import { feedback } from "./feedback.js";
import { viewer } from "./viewer.js";
import { count, lasting, letters, percent, rangeWords, reason } from "./words.js";
import { scoreWords, served, shortVerdict, time, verdict } from "./words.js";

const SHOWN = 8; // faces of a person

// At most `most` faces: evenly spread, and the one with the highest score among them.
export function chosen(faces, most = SHOWN) {
  if (faces.length <= most) return faces;
  const top = faces.reduce((best, face, i) => (face.probability > faces[best].probability ? i : best), 0);
  const places = Array.from({ length: most }, (_, i) => Math.round((i * (faces.length - 1)) / (most - 1)));
  const near = places.reduce((best, one, i) => (Math.abs(one - top) < Math.abs(places[best] - top) ? i : best), 0);
  places[near] = top;
  return [...new Set(places)].map((one) => faces[one]);
}

function facts(answer) {
  const { footage } = answer;
  const moving = footage.duration_s !== null;
  const rate = footage.fps ? `, ${Number(footage.fps.toFixed(2))} fps` : "";
  const rows = [
    ["Size in px", `${footage.width} × ${footage.height}`],
    ["Faces scored", `${answer.faces.length} of ${footage.faces_seen}`],
    ["Persons", String(answer.persons.length)],
  ];
  if (moving) {
    rows.unshift(["Length", lasting(footage.duration_s) + rate], ["Frames looked at", String(footage.frames_sampled)]);
  }
  const cells = rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  return make("dl", { class: "totals" }, ...cells);
}

function faceList(name, faces, picked) {
  const shown = chosen(faces.filter((face) => face.picture !== null));
  if (!shown.length) return null;
  return make(
    "ul",
    { class: "sheet" },
    ...shown.map((face) => {
      const when = face.time_s === null ? "" : `${time(face.time_s)}, `;
      const picture = make("img", { src: `data:image/jpeg;base64,${face.picture}`, alt: `Face of ${name}` });
      const score = make("b", { class: face.verdict }, percent(face.probability));
      const words = make("span", { class: "small" }, when, score);
      const button = make("button", { type: "button", class: "face" }, picture, words);
      button.addEventListener("click", () => picked(face));
      return make("li", {}, button);
    }),
  );
}

function facesTable(name, faces) {
  const names = ["time", "frame", "probability", "range"];
  const head = names.map((one, i) => make("th", { scope: "col", class: i ? "n" : null }, one));
  const rows = faces.map((face) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, face.time_s === null ? "picture" : time(face.time_s)),
      make("td", { class: "n" }, String(face.frame)),
      make("td", { class: "n" }, percent(face.probability)),
      make("td", { class: "n" }, rangeWords(face).replace(/^range |^uncertainty /, "")),
    ),
  );
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  return make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": `All faces of ${name}` }, table);
}

function folded(title, content) {
  const fold = make("details", {}, make("summary", {}, title));
  fold.addEventListener("toggle", () => fold.childElementCount === 1 && fold.append(content()));
  return fold;
}

// One person: the score, the scores over time, the faces. `alone`: the score of the file is theirs, and stands above.
function personCard(person, name, faces, { alone, span, picked }) {
  const timed = faces.filter((face) => face.time_s !== null);
  const chart = timed.length > 1 ? overTime(name, timed, span, picked) : null;
  const from = person.first_s === null ? "" : `, from ${time(person.first_s)} to ${time(person.last_s)}`;
  const scored = make("p", { class: "soft small" }, `${count(person.pictures, "face")} scored${from}`);
  const pick = (face) => {
    chart?.pick(face);
    picked(face);
  };
  const score = make("div", {}, make("p", { class: "figure" }, scoreWords(person)), gauge(person, name), scored);
  const head = alone
    ? [make("h2", {}, chart ? "Score over time" : "The face"), scored]
    : [make("h3", {}, `${name} `, make("span", { class: `badge ${person.verdict}` }, shortVerdict(person)))];
  const element = make(
    "section",
    { class: "card person", "aria-label": name },
    ...head,
    alone ? chart?.element : make("div", { class: "two" }, score, chart?.element ?? faceList(name, faces, pick)),
    alone || chart ? faceList(name, faces, pick) : null,
    faces.length > 1 ? folded(`All ${faces.length} faces as a table`, () => facesTable(name, faces)) : null,
  );
  return { element, chart };
}

function notes(answer) {
  if (!answer.notes.length) return null;
  const kind = () => make("span", { class: "kind" }, "Note");
  const items = answer.notes.map((note) => make("li", {}, make("p", {}, kind(), note)));
  return make("ul", { class: "alarms" }, ...items);
}

function leftOut(answer) {
  const rows = Object.entries(answer.rejected);
  if (!rows.length) return null;
  const items = rows.map(([name, faces]) => make("li", {}, make("b", {}, String(faces)), ` ${reason(name)}`));
  return make("section", {}, make("h3", {}, "Faces that were not scored"), make("ul", { class: "chips" }, ...items));
}

function reading(answer) {
  const calibrated = answer.model.calibrated
    ? "The probabilities are calibrated: of many videos with 70 %, about 70 % should be manipulated, if they are " +
      "like those that it was calibrated on."
    : "The probabilities of this model are not calibrated: a higher one speaks more for a manipulation, but 70 % " +
      "does not mean seven of ten.";
  const range = answer.uncertainty === null
    ? "This model does not tell its uncertainty."
    : "The range is two standard deviations of the model's own answers, with parts of it left out at random. It does " +
      "not cover what the model never learned.";
  return make(
    "section",
    {},
    make("h3", {}, "How to read this"),
    make("p", {}, `The score of a video is the highest of its persons, as one altered face is enough. ${range}`),
    make("p", {}, calibrated),
  );
}

function made(answer) {
  const parts = Object.entries(answer.seconds).map(([name, seconds]) => `${name} ${seconds.toFixed(2)}\u00a0s`);
  const work = parts.length ? ` Work: ${parts.join(", ")}.` : "";
  const words = `Answered by ${served(answer.model)}.${work} Answer `;
  return make("p", { class: "soft small" }, words, make("code", {}, answer.id), ".");
}

// The parts of an answer. `seen`: the file as the browser shows it, or null; `name`: of the file, or null; `asks`: for
// feedback.
export function page(given, { seen, name, asks }) {
  const answer = { ...given, persons: [...given.persons].sort((a, b) => b.probability - a.probability) };
  const charts = [];
  const follow = (seconds) => charts.forEach((chart) => chart.follow(seconds));
  const view = seen && answer.faces.length ? viewer(seen, answer, follow) : null;
  const timed = answer.faces.filter((face) => face.time_s !== null).map((face) => face.time_s);
  const end = answer.footage.duration_s ?? Math.max(0, ...timed);
  const span = [0, Math.max(end, ...timed)];
  const alone = answer.persons.length === 1;
  const cards = answer.persons.map((person, i) => {
    const faces = answer.faces.filter((face) => face.person === person.person);
    const title = alone ? "The person" : `Person ${letters(i)}`;
    const { element, chart } = personCard(person, title, faces, { alone, span, picked: (face) => view?.show(face) });
    if (chart) charts.push(chart);
    return element;
  });
  const number = make("b", { class: "number" }, percent(answer.probability));
  const top = make(
    "div",
    { class: view ? "top two" : "top" },
    make(
      "div",
      {},
      name ? make("p", { class: "soft file" }, name) : null,
      make("h2", { id: "verdict", class: `verdict ${answer.verdict}` }, verdict(answer, answer.persons.length)),
      make("p", { class: "figure" }, number, ` probability of manipulation, ${rangeWords(answer)}`),
      gauge(answer, "This file"),
      openWords(answer) ? make("p", {}, openWords(answer)) : null,
      make("p", { class: "meaning" }, answer.meaning),
      notes(answer),
    ),
    view?.element,
  );
  view?.begin();
  return [
    top,
    facts(answer),
    alone ? null : make("h2", {}, "Persons"),
    ...cards,
    leftOut(answer),
    reading(answer),
    asks ? feedback(answer) : null,
    made(answer),
  ].filter(Boolean);
}
