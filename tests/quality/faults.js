// What axe-core passes over: words of drawings, their contrast, and a page that is wider than its window.
() => {
  const faults = [];
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  for (const image of document.images) if (!image.alt.trim()) faults.push("picture without words");
  for (const head of all("table th")) if (!head.scope) faults.push("head without scope");
  for (const drawing of all("svg")) {
    if (drawing.getAttribute("role") !== "img" || !drawing.getAttribute("aria-label")) {
      faults.push("drawing without words");
    }
  }
  if (document.documentElement.scrollWidth > window.innerWidth) faults.push("page is wider than the window");

  // contrast as WCAG 2 defines it
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const rgba = (text) => {
    const numbers = text.match(/[\d.]+/g).map(Number);
    return numbers.length < 4 ? [...numbers, 1] : numbers;
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const linear = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = colour.map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (one) => {
    if (!one) return dark ? [0, 0, 0] : [255, 255, 255];
    const own = rgba(getComputedStyle(one).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, ground(one.parentElement));
  };
  const told = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    const silent = ["SCRIPT", "STYLE", "TITLE"].includes(one.tagName) || one.closest(".skip");
    if (silent || !walker.currentNode.textContent.trim()) continue;
    const style = getComputedStyle(one);
    const under = ground(one);
    const ink = over(rgba(one.closest("svg") ? style.fill : style.color), under);
    const [a, b] = [light(ink), light(under)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    const name = one.tagName + "." + one.getAttribute("class");
    if (ratio < (large ? 3 : 4.5) && !told.has(name)) {
      told.add(name);
      faults.push(`contrast ${ratio.toFixed(2)}: ${name}`);
    }
  }
  return faults;
}
