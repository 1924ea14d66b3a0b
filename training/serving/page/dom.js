// Elements of the page. Whatever is shown goes in as text, so that nothing that a file or a service says is markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(one, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) one.setAttribute(name, value === true ? "" : value);
  }
  one.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return one;
}

// An element with attributes (null and false: left out) and children: elements or text.
export const make = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);

// The same for a part of a drawing.
export const draw = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

export const at = (id) => document.getElementById(id);

// Tell it to a screen reader.
export function say(text) {
  if (at("live").textContent !== text) at("live").textContent = text;
}

// Put a box at shares (0 to 1) of what it lies in; null: as the style says.
export function place(one, { left = null, top = null, width = null, height = null }) {
  for (const [name, share] of Object.entries({ left, top, width, height })) {
    if (share !== null) one.style[name] = `${(100 * share).toFixed(3)}%`;
  }
  return one;
}
