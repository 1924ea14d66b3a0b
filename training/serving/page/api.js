// The service, as this page asks it. Addresses are relative, so that it may lie below any path.

let token = ""; // kept here alone, and gone with the page

export function setToken(text) {
  token = text;
}

// Why there is no answer, as a sentence. `status` is that of HTTP, 0 if the service was not reached.
export class Refusal extends Error {
  constructor(sentence, { status = 0, reason = "unreachable", id = "", after = null } = {}) {
    super(sentence);
    Object.assign(this, { status, reason, id, after });
  }
}

const unreached = () => new Refusal("The service cannot be reached. Check the connection and try again.");

function refused(status, text, after) {
  let problem = null;
  try {
    problem = JSON.parse(text);
  } catch {
    // not of the service, but of something between
  }
  if (typeof problem?.error === "string") {
    return new Refusal(problem.error, { status, reason: problem.reason, id: problem.id, after });
  }
  return new Refusal(`The service answered with status ${status} and no reason. Try again later.`, {
    status,
    reason: "failed",
  });
}

function read(status, text, after) {
  if (status < 200 || status > 299) throw refused(status, text, after);
  if (!text.trim()) return null;
  try {
    return JSON.parse(text);
  } catch {
    throw refused(status, "", null);
  }
}

const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});

// POST of a value as JSON; GET, or what `method` says, without one. Throws a Refusal.
export async function ask(path, { value, method = value === undefined ? "GET" : "POST", signal } = {}) {
  const kind = value === undefined ? {} : { "Content-Type": "application/json" };
  const body = value === undefined ? undefined : JSON.stringify(value);
  let response, text;
  try {
    response = await fetch(path, { method, body, signal, cache: "no-store", headers: { ...headers(), ...kind } });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw unreached();
  }
  return read(response.status, text, response.headers.get("Retry-After"));
}

// POST of a file. `progress` gets the share that is sent, `sent` is called when all of it is. Throws a Refusal.
export function send(path, file, { progress, sent, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch tells nothing of what it has sent
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.upload.onprogress = (event) => progress(event.loaded / Math.max(event.total, 1));
    request.upload.onload = () => sent();
    request.onload = () => {
      try {
        resolve(read(request.status, request.responseText, request.getResponseHeader("Retry-After")));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(unreached());
    signal.addEventListener("abort", () => {
      request.abort();
      reject(signal.reason);
    });
    request.send(file);
  });
}
