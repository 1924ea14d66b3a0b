// Scores as drawings: a range on a bar, and a person's scores over time.

import { draw, make, place } from "./dom.js";
import { open, percent, range, rangeWords, scoreWords, time } from "./words.js";

const HEIGHT = 168; // px
const EDGE = { left: 48, right: 20, top: 10, bottom: 26 };
const GAP = 3.5; // times the usual distance of two scores: the person was away
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800]; // s between two ticks
const FEW = 90; // points that are drawn as dots
const KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };

// The probability on a bar from 0 to 100 %, with its range.
export function gauge(score, words) {
  const found = range(score);
  const inside = [make("span", { class: "half" })];
  if (found) inside.push(place(make("span", { class: "spread" }), { left: found[0], width: found[1] - found[0] }));
  inside.push(place(make("span", { class: "mark" }), { left: score.probability }));
  const label = `${words}: probability of manipulation ${percent(score.probability)}, ${rangeWords(score)}`;
  return make(
    "div",
    { class: `gauge ${score.verdict}` },
    make("div", { class: "track", role: "img", "aria-label": label }, ...inside),
    make(
      "div",
      { class: "ends", "aria-hidden": "true" },
      make("span", {}, "0 % unaltered"),
      make("span", {}, "50 %"),
      make("span", {}, "manipulated 100 %"),
    ),
  );
}

// What the range says of the verdict; "" if it leaves none open.
export function openWords(score) {
  if (score.verdict === "uncertain") return "The range is too wide for a verdict.";
  return open(score) ? "The range reaches across 50 %, so the other verdict is possible too." : "";
}

// The faces of one person by time, split where the person was away.
export function runs(faces) {
  const gaps = faces.slice(1).map((face, i) => face.time_s - faces[i].time_s);
  const usual = [...gaps].sort((a, b) => a - b)[gaps.length >> 1] ?? 0;
  const found = [];
  faces.forEach((face, i) => {
    if (i === 0 || gaps[i - 1] > GAP * usual) found.push([]);
    found.at(-1).push(face);
  });
  return found;
}

function ticks(first, last, width) {
  const most = Math.max(2, Math.floor(width / 72));
  const step = STEPS.find((one) => (last - first) / one <= most) ?? 3600;
  const found = [];
  for (let i = Math.ceil(first / step - 1e-9); i * step <= last + 1e-9; i++) found.push(i * step);
  return found;
}

// Returns {element, pick(face), follow(seconds)}. `picked` is called with the face that somebody points at.
export function overTime(name, faces, [first, last], picked) {
  const span = Math.max(last - first, 0.1);
  const svg = draw("svg", {
    class: "plot",
    role: "img",
    "aria-label": `Probability of manipulation of ${name} over time, from ${time(first)} to ${time(last)}`,
  });
  const face = make("img", { alt: "The face at this moment" });
  const words = make("p", { class: "small" });
  const readout = make("div", { class: "readout", "aria-hidden": "true" }, faces[0].picture ? face : null, words);
  const element = make(
    "div",
    {
      class: "overtime",
      role: "slider",
      tabindex: "0",
      "aria-label": `${name}, moment`,
      "aria-valuemin": "0",
      "aria-valuemax": String(faces.length - 1),
    },
    svg,
  );
  let here = faces.reduce((best, face, i) => (face.probability > faces[best].probability ? i : best), 0);
  let x = () => 0;
  let cursor = null;
  const y = (share) => EDGE.top + (1 - share) * (HEIGHT - EDGE.top - EDGE.bottom);

  function paint() {
    const width = Math.max(element.clientWidth, 200);
    x = (seconds) => EDGE.left + ((seconds - first) / span) * (width - EDGE.left - EDGE.right);
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const right = width - EDGE.right;
    cursor = draw("g", { class: "cursor" });
    svg.replaceChildren(
      draw("rect", { class: "upper", x: EDGE.left, y: y(1), width: right - EDGE.left, height: y(0.5) - y(1) }),
      draw("rect", { class: "lower", x: EDGE.left, y: y(0.5), width: right - EDGE.left, height: y(0) - y(0.5) }),
      ...[0, 0.5, 1].flatMap((share) => [
        draw("line", { class: `grid at${100 * share}`, x1: EDGE.left, x2: right, y1: y(share), y2: y(share) }),
        draw("text", { x: EDGE.left - 7, y: y(share) + 4, "text-anchor": "end" }, `${100 * share} %`),
      ]),
      ...ticks(first, last, right - EDGE.left).map((tick) =>
        draw("text", { x: x(tick), y: HEIGHT - 7, "text-anchor": "middle" }, short(tick)),
      ),
      ...runs(faces).flatMap(drawn),
      cursor,
    );
    mark();
  }

  function drawn(run) {
    const parts = [];
    const spreads = run.map(range);
    if (spreads.every((one) => one !== null)) {
      const upper = run.map((face, i) => `${x(face.time_s).toFixed(1)} ${y(spreads[i][1]).toFixed(1)}`);
      const lower = run.map((face, i) => `${x(face.time_s).toFixed(1)} ${y(spreads[i][0]).toFixed(1)}`);
      const d = `M${[...upper, ...lower.reverse()].join("L")}Z`;
      parts.push(draw("path", { class: run.length > 1 ? "band" : "band single", d }));
    }
    const d = `M${run.map((face) => `${x(face.time_s).toFixed(1)} ${y(face.probability).toFixed(1)}`).join("L")}`;
    parts.push(draw("path", { class: "line", d }));
    if (faces.length <= FEW || run.length === 1) {
      const dot = (face) => draw("circle", { class: face.verdict, cx: x(face.time_s), cy: y(face.probability), r: 3 });
      parts.push(...run.map(dot));
    }
    return parts;
  }

  function mark() {
    const now = faces[here];
    const left = x(now.time_s);
    cursor.replaceChildren(
      draw("line", { x1: left, x2: left, y1: y(1), y2: y(0) }),
      draw("circle", { class: now.verdict, cx: left, cy: y(now.probability), r: 5.5 }),
    );
    words.textContent = `At ${time(now.time_s)}: ${scoreWords(now)}`;
    if (now.picture) face.src = `data:image/jpeg;base64,${now.picture}`;
    element.setAttribute("aria-valuenow", String(here));
    element.setAttribute("aria-valuetext", `${time(now.time_s)}: ${scoreWords(now)}`);
  }

  function go(to, told = true) {
    const next = Math.min(Math.max(to, 0), faces.length - 1);
    if (next === here && told !== "always") return;
    here = next;
    mark();
    if (told) picked(faces[here]);
  }

  function nearest(event) {
    const left = event.clientX - svg.getBoundingClientRect().left;
    const away = faces.map((face) => Math.abs(x(face.time_s) - left));
    return away.indexOf(Math.min(...away));
  }

  element.addEventListener("pointermove", (event) => go(nearest(event)));
  element.addEventListener("pointerdown", (event) => go(nearest(event), "always"));
  element.addEventListener("keydown", (event) => {
    const ends = { Home: 0, End: faces.length - 1 };
    const to = event.key in KEYS ? here + KEYS[event.key] : ends[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(to);
  });
  new ResizeObserver(paint).observe(element);
  paint();
  const follow = (seconds) => {
    const away = faces.map((face) => Math.abs(face.time_s - seconds));
    go(away.indexOf(Math.min(...away)), false);
  };
  return { element: make("div", {}, element, readout), pick: (face) => go(faces.indexOf(face), false), follow };
}

// A tick: 0.5, 12, 1:30
const short = (seconds) => (seconds < 60 ? `${Number(seconds.toFixed(1))}\u00a0s` : time(seconds).replace(/\.0$/, ""));
