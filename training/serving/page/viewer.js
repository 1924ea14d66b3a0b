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
    : make("video", { playsinline: true, preload: "auto", "aria-label": "The video that was scored" });
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

// Play, pause and a slider below the video: the browser's own would lie over the faces. `moved` is called when used.
function controls(video, moved) {
  const button = make("button", { type: "button", class: "play" }, "Play");
  const last = video.duration;
  const ends = { min: "0", max: String(last), step: "0.01", value: "0" };
  const slider = make("input", { type: "range", ...ends, "aria-label": "Moment" });
  const words = make("span", { class: "soft small" });
  function follow() {
    slider.value = String(video.currentTime);
    words.textContent = `${time(video.currentTime)} of ${time(last)}`;
    slider.setAttribute("aria-valuetext", words.textContent);
    button.textContent = video.paused || video.ended ? "Play" : "Pause";
  }
  button.addEventListener("click", () => (video.paused || video.ended ? video.play().catch(() => {}) : video.pause()));
  video.addEventListener("play", moved);
  slider.addEventListener("input", () => {
    moved();
    video.pause();
    video.currentTime = Number(slider.value);
  });
  for (const kind of ["timeupdate", "seeked", "play", "pause", "ended"]) video.addEventListener(kind, follow);
  follow();
  return make("div", { class: "controls" }, button, slider, words);
}

// Call `does` at every picture that the video shows.
function atEachFrame(video, does) {
  for (const kind of ["timeupdate", "seeked", "loadeddata"]) video.addEventListener(kind, does);
  if (!video.requestVideoFrameCallback) return;
  const next = () => {
    if (video.isConnected && !video.paused) does();
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
}

// Returns {element, show(face)}. `moved` is told the seconds that the video is at.
export function viewer(seen, answer, moved) {
  const { width, height } = answer.footage;
  let picked = null; // the face that is shown, until the video is moved by its own controls
  const still = seen.kind === "picture" || seen.seconds === null;
  const boxes = make("div", { class: "boxes", "aria-hidden": "true" });
  const stage = make("div", { class: "stage" }, seen.element, boxes);
  stage.style.aspectRatio = `${width} / ${height}`;
  const below = still ? null : controls(seen.element, () => (picked = null));
  const figure = make("figure", { class: "viewer" }, stage, below);
  figure.style.maxWidth = `calc(24rem * ${Math.max(width / height, 0.75).toFixed(4)})`;
  stage.style.maxWidth = `calc(24rem * ${(width / height).toFixed(4)})`;
  const near = still ? 0 : patience(answer.faces);
  const names = new Map(answer.persons.map((person, i) => [person.person, letters(i)]));
  let shown = "";

  function outline(faces) {
    const key = JSON.stringify([faces.map((face) => [face.frame, face.box]), picked?.frame, picked?.person]);
    if (key === shown) return;
    shown = key;
    boxes.replaceChildren(
      ...faces.map((face) => {
        const [x0, y0, x1, y1] = face.box;
        const name = names.size > 1 ? make("span", {}, names.get(face.person)) : null;
        const box = make("div", { class: `box ${face.verdict}${face === picked ? " picked" : ""}` }, name);
        return place(box, { left: x0 / width, top: y0 / height, width: (x1 - x0) / width, height: (y1 - y0) / height });
      }),
    );
  }

  function now() {
    if (still) return outline(answer.faces);
    const here = picked?.time_s ?? seen.element.currentTime; // a container may end before its last picture
    const times = answer.faces.map((face) => face.time_s).filter((one) => Math.abs(one - here) <= near + 0.001);
    const best = times.sort((a, b) => Math.abs(a - here) - Math.abs(b - here))[0];
    outline(answer.faces.filter((face) => face.time_s === best));
    moved(here);
  }

  function show(face) {
    picked = face;
    if (!still) {
      seen.element.pause();
      seen.element.currentTime = face.time_s + 0.001; // the frame's own picture, not the end of the one before
    }
    now();
  }

  if (!still) atEachFrame(seen.element, now);
  return { element: figure, show, begin: now };
}
