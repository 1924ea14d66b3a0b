// The file itself, beside its answer: boxes around the faces, and the moment that was picked.

import { make, place } from "./dom.js";
import { letters, time } from "./words.js";

const PATIENCE = 4000; // ms that a browser has for the head of a file

// What the browser can show of a file: {kind: "video" | "picture", element, seconds}; null if it cannot.
export function look(file) {
  const address = URL.createObjectURL(file);
  const picture = file.type.startsWith("image/");
  const element = picture
    ? make("img", { alt: "The picture that was scored" })
    : make("video", { controls: true, playsinline: true, preload: "auto", "aria-label": "The video that was scored" });
  return new Promise((resolve) => {
    const done = (found) => {
      clearTimeout(patience);
      if (found === null) URL.revokeObjectURL(address);
      resolve(found);
    };
    const patience = setTimeout(() => done(null), PATIENCE);
    element.onerror = () => done(null);
    element[picture ? "onload" : "onloadedmetadata"] = () => {
      const wide = picture ? element.naturalWidth : element.videoWidth;
      const seconds = !picture && Number.isFinite(element.duration) ? element.duration : null;
      done(wide ? { kind: picture ? "picture" : "video", element, seconds, address } : null);
    };
    if (!picture) element.muted = true; // the answer says nothing about the sound
    element.src = address;
  });
}

export function forget(seen) {
  if (seen) URL.revokeObjectURL(seen.address);
}

// The half of the time between two looked-at frames: for so long a box stays.
function patience(faces) {
  const times = [...new Set(faces.map((face) => face.time_s))].sort((a, b) => a - b);
  const gaps = times.slice(1).map((one, i) => one - times[i]).sort((a, b) => a - b);
  return gaps.length ? Math.min(gaps[gaps.length >> 1] / 2, 0.5) : 0.5;
}

// Returns {element, show(face)}.
export function viewer(seen, answer) {
  const { width, height } = answer.footage;
  const boxes = make("div", { class: "boxes", "aria-hidden": "true" });
  const stage = make("div", { class: "stage" }, seen.element, boxes);
  stage.style.aspectRatio = `${width} / ${height}`;
  stage.style.maxWidth = `calc(24rem * ${(width / height).toFixed(4)})`;
  const caption = make("figcaption", { class: "soft small" });
  const still = seen.kind === "picture";
  const near = still ? 0 : patience(answer.faces);
  const names = new Map(answer.persons.map((person, i) => [person.person, letters(i)]));
  let picked = null;
  let shown = "";

  function outline(faces) {
    const key = faces.map((face) => `${face.frame}.${face.box}`).join() + (picked ? `.${picked.frame}.${picked.person}` : "");
    if (key === shown) return;
    shown = key;
    boxes.replaceChildren(
      ...faces.map((face) => {
        const [x0, y0, x1, y1] = face.box;
        const words = names.size > 1 ? make("span", {}, names.get(face.person)) : null;
        const box = make("div", { class: `box ${face.verdict}${face === picked ? " picked" : ""}` }, words);
        return place(box, { left: x0 / width, top: y0 / height, width: (x1 - x0) / width, height: (y1 - y0) / height });
      }),
    );
  }

  function now() {
    if (still) return outline(answer.faces);
    const here = seen.element.currentTime;
    const times = answer.faces.map((face) => face.time_s).filter((one) => Math.abs(one - here) <= near + 0.001);
    const best = times.sort((a, b) => Math.abs(a - here) - Math.abs(b - here))[0];
    return outline(answer.faces.filter((face) => face.time_s === best));
  }

  if (!still) {
    for (const kind of ["timeupdate", "seeked", "loadeddata"]) seen.element.addEventListener(kind, now);
    caption.textContent = "Boxes are drawn at the frames that were looked at.";
  } else {
    caption.textContent = "Boxes are drawn around the faces that were scored.";
  }
  now();

  function show(face) {
    picked = face;
    if (!still) {
      seen.element.pause();
      seen.element.currentTime = face.time_s + 0.001; // the frame's own picture, not the end of the one before
      caption.textContent = `Frame ${face.frame}, at ${time(face.time_s)}`;
    }
    now();
  }

  return { element: make("figure", { class: "viewer" }, stage, caption), show };
}
