// The page: a file is chosen, sent and looked at; then its answer, or the reason why there is none.

import { page } from "./answer.js";
import { Refusal, ask, send, setToken } from "./api.js";
import { at, say } from "./dom.js";
import { forget, look } from "./viewer.js";
import { lasting, percent, served, size, time, verdict } from "./words.js";

const PANELS = ["token", "choose", "busy", "problem", "answer"];
// Reasons of which the next try may know nothing.
const PASSING = ["busy", "rate", "stopping", "unreachable", "failed", "timeout", "crashed", "oom"];
const TITLE = document.title;
const [SOONEST, LATEST] = [1000, 5000]; // ms between two questions for a job
const LOST = 5; // questions for a job in a row that nobody answers
const LATER = ["unreachable", "rate", "stopping"]; // a job goes on, so that it is asked for again

let service = null;
let chosen = null; // {file, seen}
let work = null; // what can be cancelled
let waited = null; // the id of the job that is waited for

function show(...names) {
  for (const name of PANELS) at(name).hidden = !names.includes(name);
}

// Who answers here, and what it takes; asks for a token where that is needed, and calls `then` afterwards.
async function start(then = ready) {
  try {
    service = await ask("v1/model");
  } catch (refusal) {
    if (refusal.status === 401) return needToken(then);
    return fail(refusal, () => start(then));
  }
  at("model").textContent = `Model: ${service.models.map(served).join(", ")}`;
  const { limits } = service;
  const [now, job] = [limits.video_seconds, limits.job_seconds];
  const later = job > now ? ` Longer ones, up to ${lasting(job)}, are scored as a job.` : "";
  const words = `Up to ${limits.video_mib} MiB. Videos up to ${lasting(now)} are answered at once.${later}`;
  at("limits").textContent = words;
  return then();
}

let entered = false; // whether a token was typed in, so that the next 401 means that it is wrong
let afterToken = ready;

function needToken(then) {
  afterToken = then;
  show("token");
  const field = at("token-field");
  at("token-wrong").textContent = entered ? "This token is not known here. Check it and enter it again." : "";
  field.setAttribute("aria-invalid", String(entered));
  field.value = "";
  field.focus();
}

function ready() {
  show("choose");
  const job = new URLSearchParams(location.hash.slice(1)).get("job");
  if (job) run((task) => wait({ id: job, status: "queued" }, task));
}

// Do `does` as the work that can be cancelled; what was going on is.
async function run(does) {
  work?.abort();
  const task = new AbortController();
  work = task;
  const began = performance.now();
  show("busy");
  at("cancel").focus();
  const clock = setInterval(() => tick(began), 1000);
  try {
    await does(task.signal);
  } catch (error) {
    if (work !== task || task.signal.aborted) return;
    if (!(error instanceof Refusal)) {
      console.error(error);
      const words = "This page failed. Load it again, or tell whoever runs the service.";
      return fail(new Refusal(words, { reason: "page" }));
    }
    if (error.status === 401) needToken(() => run(does));
    else fail(error, () => run(does));
  } finally {
    clearInterval(clock);
    if (work === task) work = null;
  }
}

// A job as a part of the address: loading the page again goes on with it, or shows its answer.
function remember(job) {
  history.replaceState(null, "", location.pathname + location.search + (job ? `#job=${encodeURIComponent(job)}` : ""));
}

let counting = false;

function tick(began) {
  if (counting) at("amount").textContent = time(Math.round((performance.now() - began) / 1000)).replace(".0", "");
}

function phase(text, detail = "") {
  at("phase").textContent = text;
  at("busy-file").textContent = detail;
  say(text);
}

function waiting(text, detail) {
  at("bar").removeAttribute("value");
  if (!counting) at("amount").textContent = "";
  counting = true;
  phase(text, detail);
}

async function take(file) {
  forget(chosen?.seen);
  const mine = { file, seen: null };
  chosen = mine;
  leave();
  if (file.size === 0) return fail(new Refusal(`${file.name} is empty. Choose another file.`, { reason: "empty" }));
  if (file.size > service.limits.video_mib * 1024 * 1024) {
    const most = `this service takes at most ${service.limits.video_mib} MiB`;
    const words = `${file.name} has ${size(file.size)}, and ${most}. Choose a smaller file.`;
    return fail(new Refusal(words, { reason: "too_large" }));
  }
  return run(async (signal) => {
    waiting("Opening the file", file.name);
    mine.seen ??= await look(file);
    signal.throwIfAborted();
    const seconds = mine.seen?.seconds ?? 0;
    if (seconds > service.limits.video_seconds) throw tooLong(file, seconds);
    done(await deliver("v1/videos?faces=true", signal));
  });
}

function tooLong(file, seconds) {
  const { video_seconds: now, job_seconds: job } = service.limits;
  const rule =
    seconds <= job
      ? `videos up to ${lasting(now)} are answered at once. It can be scored as a job; keep this page open meanwhile.`
      : `this service takes at most ${lasting(job)}. Cut out the part that matters.`;
  const words = `${file.name} lasts ${lasting(seconds)}, and ${rule}`;
  return new Refusal(words, { reason: seconds <= job ? "too_long" : "longer_than_a_job" });
}

function deliver(path, signal) {
  const { file } = chosen;
  counting = false;
  const progress = (share) => {
    at("bar").value = 100 * share;
    at("amount").textContent = `${Math.floor(100 * share)}\u00a0% of ${size(file.size)}`;
  };
  phase("Sending the file", file.name);
  progress(0);
  return send(path, file, { progress, signal, sent: () => waiting("Looking for faces", file.name) });
}

function later() {
  let job = null;
  return run(async (signal) => {
    job ??= await deliver("v1/jobs?faces=true", signal); // trying again asks for the same job
    await wait(job, signal);
  });
}

async function wait(job, signal) {
  let lost = 0;
  waited = job.id;
  remember(job.id);
  const goes = () => job.status === "queued" || job.status === "running";
  for (let pause = SOONEST; goes(); pause = Math.min(pause * 1.3, LATEST)) {
    const ahead = job.ahead ? `${job.ahead} before it in the queue` : "";
    const name = chosen?.file.name ?? `Job ${job.id}`;
    const words = job.status === "running" ? "Looking for faces" : "Waiting for its turn";
    waiting(words, ahead ? `${name}: ${ahead}` : name);
    if (job.status === "running" || lost || job.address) await sleep(pause, signal);
    try {
      job = await ask(`v1/jobs/${encodeURIComponent(job.id)}`, { signal });
      lost = 0;
    } catch (refusal) {
      if (LATER.includes(refusal.reason) && ++lost < LOST) continue;
      if (refusal.reason === "not_found") leave(false);
      throw refusal;
    }
  }
  waited = null;
  if (job.problem) {
    remember(null);
    const reason = job.problem.reason === "too_long" ? "longer_than_a_job" : job.problem.reason;
    throw new Refusal(job.problem.error, { status: 200, reason, id: job.problem.id });
  }
  done(job.answer);
}

// Nobody waits for a job any more: the service may forget it, unless it has already.
function leave(known = true) {
  if (waited && known) ask(`v1/jobs/${encodeURIComponent(waited)}`, { method: "DELETE" }).catch(() => {}); // or in time
  waited = null;
  remember(null);
}

function sleep(pause, signal) {
  return new Promise((resolve, reject) => {
    const alarm = setTimeout(resolve, pause);
    signal.addEventListener("abort", () => (clearTimeout(alarm), reject(signal.reason)));
  });
}

function done(answer) {
  const words = verdict(answer, answer.persons.length);
  const name = chosen?.file.name ?? null;
  show("choose", "answer");
  document.body.dataset.answered = "";
  at("answer").replaceChildren(...page(answer, { seen: chosen?.seen ?? null, name, asks: service.feedback }));
  document.title = `${words} - ${TITLE}`;
  say(`${words}: ${percent(answer.probability)}`);
  at("answer").focus();
}

function fail(refusal, again = null) {
  const offered = refusal.reason === "too_long" && chosen && service.limits.job_seconds > service.limits.video_seconds;
  const titles = { too_long: offered ? "This takes longer" : "Too long", longer_than_a_job: "Too long" };
  at("problem-head").textContent = titles[refusal.reason] ?? "There is no answer";
  const after = refusal.after && /^\d+$/.test(refusal.after) ? ` It may have room in ${refusal.after} s.` : "";
  at("problem-text").textContent = refusal.message + after;
  const about = [chosen?.file.name, refusal.id ? `request ${refusal.id}` : null].filter(Boolean);
  at("problem-id").textContent = about.join(", ");
  at("later").hidden = !offered;
  at("again").hidden = !again || !PASSING.includes(refusal.reason);
  at("again").onclick = again;
  show(...(service ? ["choose"] : []), "problem");
  document.title = TITLE;
  at("problem").focus();
}

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(at("token-field").value.trim());
  at("token-field").value = "";
  entered = true;
  start(afterToken);
});
at("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) take(file);
  event.target.value = ""; // so that the same file can be chosen again
});
at("later").addEventListener("click", later);
at("cancel").addEventListener("click", () => {
  work?.abort();
  leave();
  show("choose");
  say("Cancelled");
  at("file").focus();
});

// A file may be dropped anywhere: outside the field, the browser would leave the page for it.
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    const takes = service !== null && at("token").hidden && event.dataTransfer?.types.includes("Files");
    const leaves = kind === "drop" || (kind === "dragleave" && event.relatedTarget === null);
    document.body.classList.toggle("dropping", Boolean(takes) && !leaves);
    if (kind === "drop" && takes && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

start();
