// Numbers and verdicts in words.

const SPACE = "\u00a0"; // keeps a number and its unit in one line

const REASONS = {
  confidence: "the finder of faces was not sure",
  small: "too small",
  dark: "too dark",
  bright: "too bright",
  face_ratio: "too little of it is in the picture",
  blur: "blurred",
  doubtful: "perhaps no face",
  not_largest: "smaller than another face of the frame",
  decode_error: "in a frame that cannot be decoded",
  no_face: "frames without a face",
};

export const reason = (name) => REASONS[name] ?? name.replaceAll("_", " ");

// A probability: 0.87 -> 87 %. What is not certain is never shown as 0 or 100 %.
export function percent(share) {
  if (share > 0 && share < 0.01) return `under 1${SPACE}%`;
  if (share < 1 && share > 0.99) return `over 99${SPACE}%`;
  return `${Math.round(100 * share)}${SPACE}%`;
}

// Where the score lies within its uncertainty (shares); null where that is unknown.
export function range(score) {
  if (score.uncertainty === null) return null;
  return [Math.max(score.probability - score.uncertainty, 0), Math.min(score.probability + score.uncertainty, 1)];
}

export function rangeWords(score) {
  const found = range(score);
  if (found === null) return "uncertainty unknown";
  const [low, high] = found.map((share) => Math.round(100 * share));
  return `range ${low} to ${high}${SPACE}%`;
}

export const scoreWords = (score) => `${percent(score.probability)}, ${rangeWords(score)}`;

// Whether the range holds both verdicts.
export function open(score) {
  const found = range(score);
  return found !== null && found[0] < 0.5 && found[1] >= 0.5;
}

// 9.96 -> 10.0 s, 65.2 -> 1:05.2
export function time(seconds) {
  const tenths = Math.round(10 * seconds);
  if (tenths < 600) return `${(tenths / 10).toFixed(1)}${SPACE}s`;
  const rest = ((tenths % 600) / 10).toFixed(1);
  return `${Math.floor(tenths / 600)}:${rest.padStart(4, "0")}`;
}

// A length: 60 -> 60 s, 300 -> 5 min
export function lasting(seconds) {
  if (seconds < 120) return `${Number(seconds.toFixed(1))}${SPACE}s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes}${SPACE}min` : `${Number((seconds / 3600).toFixed(1))}${SPACE}h`;
}

export function size(bytes) {
  if (bytes < 1024 * 1024) return `${Math.max(1, Math.round(bytes / 1024))}${SPACE}KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)}${SPACE}MiB`;
}

export const count = (number, one, many = `${one}s`) => `${number}${SPACE}${number === 1 ? one : many}`;

const VERDICTS = {
  fake: ["The face looks manipulated", "A face looks manipulated"],
  real: ["The face does not look manipulated", "No face looks manipulated"],
  uncertain: ["The model cannot tell", "The model cannot tell"],
};

// The verdict on a video of so many persons, in a sentence.
export const verdict = (score, persons) => VERDICTS[score.verdict][persons > 1 ? 1 : 0];

const SHORT = { fake: "looks manipulated", real: "does not look manipulated", uncertain: "cannot be told" };

export const shortVerdict = (score) => SHORT[score.verdict];

// The model that answers: "detector 1.2.0", "detector (unregistered)"
export function served(model) {
  const version = /^\d/.test(model.version) ? model.version : `(${model.version})`;
  return `${model.name} ${version}${model.role === "challenger" ? ", on trial" : ""}`;
}

// The name of a person by their place in the answer: 0 -> A, 25 -> Z, 26 -> AA
export function letters(number) {
  const rest = String.fromCharCode(65 + (number % 26));
  return number < 26 ? rest : letters(Math.floor(number / 26) - 1) + rest;
}
