"use strict";
// A face is kept where low <= value < high, or where its value is unknown. Limits are bin edges.
(function () {
  const measures = JSON.parse(document.getElementById("bins").textContent);
  const text = (value) => Number(value.toPrecision(4)).toLocaleString("en");
  function count(measure, kind, low, high) {
    let kept = measure["unknown_" + kind];
    const bins = measure[kind];
    for (let i = 0; i < bins.length; i++) if (i >= low && i < high) kept += bins[i];
    return kept;
  }
  function total(measure, kind) {
    return measure["unknown_" + kind] + measure[kind].reduce((sum, value) => sum + value, 0);
  }
  for (const measure of measures) {
    const card = document.getElementById("measure-" + measure.name);
    const sliders = { low: card.querySelector("input.low"), high: card.querySelector("input.high") };
    const status = card.querySelector(".kept");
    const last = measure.edges.length - 1;
    function update() {
      const place = { low: 0, high: last };
      for (const side of ["low", "high"]) {
        if (!sliders[side]) continue;
        place[side] = Number(sliders[side].value);
        const value = text(measure.edges[place[side]]) + (measure.unit ? " " + measure.unit : "");
        card.querySelector("output." + side).textContent = value;
        sliders[side].setAttribute("aria-valuetext", value);
        const line = card.querySelector("line." + side);
        if (line) for (const end of ["x1", "x2"]) line.setAttribute(end, (600 * place[side]) / last);
      }
      const parts = [];
      for (const kind of ["real", "fake"]) {
        const all = total(measure, kind);
        if (!all) continue;
        const kept = count(measure, kind, place.low, place.high);
        status.setAttribute("data-" + kind, kept);
        parts.push(`${kept.toLocaleString("en")} of ${all.toLocaleString("en")} ${kind} (${((100 * kept) / all).toFixed(1)}%)`);
      }
      status.textContent = "would keep " + parts.join(", ");
    }
    for (const side of ["low", "high"]) if (sliders[side]) sliders[side].addEventListener("input", update);
    if (sliders.low || sliders.high) update();
  }
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => (details.open = true)));
})();
